/**
 * Who stands about in a network of the gateway's test, a process of its own so that it can be in a namespace of its own: a node with
 * a kubelet's port, pods and a webhook, or somebody who must hear of nobody. Each connection is a line of standard output.
 *
 *     node gateway-node.ts JSON, a list of {name, address, port, tls?: {cert, key}}
 */
import { createHash } from "node:crypto";
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { Duplex } from "node:stream";

export interface Standing {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly tls?: { readonly cert: string; readonly key: string };
}

/** RFC 6455 §1.3. */
const MAGIC = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

async function answer(name: string, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const body = Buffer.concat(chunks).toString("utf8");
  const path = request.url ?? "/";
  if (path.startsWith("/admit")) {
    const { request: asked } = JSON.parse(body) as { request: { uid: string } };
    response.writeHead(200, { "content-type": "application/json" });
    return void response.end(
      JSON.stringify({
        apiVersion: "admission.k8s.io/v1",
        kind: "AdmissionReview",
        response: { uid: asked.uid, allowed: true, warnings: [`seen by ${name}`] },
      }),
    );
  }
  if (path.startsWith("/containerLogs/")) return void response.end(`logs of ${path.split("?")[0]}\n`);
  response.end(`${name} ${request.method} ${path}`);
}

/** Echoes whatever comes after the upgrade, byte for byte. */
function upgrade(request: IncomingMessage, stream: Duplex, head: Buffer): void {
  const accept = createHash("sha1")
    .update(`${request.headers["sec-websocket-key"] ?? ""}${MAGIC}`)
    .digest("base64");
  stream.on("error", () => {});
  stream.write(
    `HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: ${request.headers.upgrade}\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`,
  );
  if (head.length > 0) stream.write(head);
  stream.pipe(stream);
}

function serve({ name, address, port, tls }: Standing): Promise<void> {
  const listener = (request: IncomingMessage, response: ServerResponse) => void answer(name, request, response);
  const server: Server = tls ? createHttpsServer(tls, listener) : createHttpServer(listener);
  server.on("connection", () => say({ seen: name }));
  server.on("upgrade", upgrade);
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, address, resolve);
  });
}

if (import.meta.main) {
  const standing = JSON.parse(process.argv[2] ?? "[]") as Standing[];
  await Promise.all(standing.map(serve));
  say({ ready: true });
}
