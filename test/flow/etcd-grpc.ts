import { connect } from "node:http2";

/** A client certificate for an etcd: whose name it carries is who one is. */
export interface EtcdIdentity {
  readonly endpoint: string;
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** What etcd answered: status 0 is success. */
export interface GrpcAnswer {
  readonly status: number;
  readonly message: string;
  readonly body: Buffer;
}

/** Whether a watch was refused, or cancelled (field 4) because of a compaction (field 5). */
export function watchEnded(body: Buffer): boolean {
  return body.includes("permission denied") || body.includes(Buffer.of(0x20, 1, 0x28));
}

/**
 * One gRPC call with a client certificate, as somebody who stole it would make: etcd's gateway ignores names of
 * certificates, so only this way shows what they open. A stream is read until its first answers came.
 */
export async function etcdCall(identity: EtcdIdentity, method: string, request: Buffer): Promise<GrpcAnswer> {
  const session = connect(identity.endpoint, { ca: identity.ca, cert: identity.cert, key: identity.key });
  try {
    return await new Promise<GrpcAnswer>((resolve, reject) => {
      session.once("error", reject);
      const stream = session.request({
        ":method": "POST",
        ":path": `/${method.includes(".") ? "" : "etcdserverpb."}${method}`,
        "content-type": "application/grpc",
        te: "trailers",
      });
      const chunks: Buffer[] = [];
      let status: Record<string, unknown> = {};
      const done = () =>
        resolve({
          status: Number(status["grpc-status"] ?? -1),
          message: decodeURIComponent(String(status["grpc-message"] ?? "")),
          body: Buffer.concat(chunks),
        });
      stream.on("response", (headers) => (status = { ...status, ...headers }));
      stream.on("trailers", (headers) => (status = { ...status, ...headers }));
      stream.on("data", (chunk: Buffer) => {
        chunks.push(chunk);
        // a watch never ends by itself; why it was refused or cancelled is in its second answer
        if (method === "Watch/Watch" && watchEnded(Buffer.concat(chunks))) done();
      });
      stream.on("end", done);
      stream.on("error", reject);
      stream.setTimeout(5000, () => done());
      const frame = Buffer.alloc(5);
      frame.writeUInt32BE(request.length, 1);
      stream.write(Buffer.concat([frame, request]));
      if (method !== "Watch/Watch") stream.end();
    });
  } finally {
    session.destroy();
  }
}
