/** A webhook of a tenant's: converts widgets, labels config maps, refuses the forbidden one. Run as `webhook.ts ADDRESS PORT CERT KEY`. */
import { readFileSync } from "node:fs";
import { createServer } from "node:https";

interface Review {
  readonly apiVersion: string;
  readonly kind: string;
  readonly request: {
    readonly uid: string;
    readonly name?: string;
    readonly object?: { readonly metadata: { readonly name?: string; readonly labels?: Readonly<Record<string, string>> } };
    readonly desiredAPIVersion?: string;
    readonly objects?: readonly { readonly apiVersion: string; readonly spec: Readonly<Record<string, unknown>> }[];
  };
}

const answers: Readonly<Record<string, (request: Review["request"]) => object>> = {
  "/convert": ({ objects = [], desiredAPIVersion = "" }) => ({
    result: { status: "Success" },
    convertedObjects: objects.map(({ spec: { size, extent, ...spec }, ...rest }) => ({
      ...rest,
      apiVersion: desiredAPIVersion,
      spec: { ...spec, [desiredAPIVersion.endsWith("/v2") ? "extent" : "size"]: size ?? extent },
    })),
  }),
  "/mutate": ({ object }) => ({
    allowed: true,
    patchType: "JSONPatch",
    patch: Buffer.from(
      JSON.stringify([{ op: "add", path: "/metadata/labels", value: { ...object?.metadata.labels, mutated: "yes" } }]),
    ).toString("base64"),
  }),
  "/validate": ({ object }) => {
    const allowed = object?.metadata.name !== "forbidden";
    return { allowed, ...(allowed ? {} : { status: { code: 403, message: "the name is forbidden" } }) };
  },
};

const [address = "", port = "", certificate = "", key = ""] = process.argv.slice(2);
createServer({ cert: readFileSync(certificate), key: readFileSync(key) }, (request, response) => {
  const chunks: Buffer[] = [];
  request.on("data", (chunk: Buffer) => chunks.push(chunk));
  request.once("end", () => {
    const review = JSON.parse(Buffer.concat(chunks).toString("utf8")) as Review;
    const answer = answers[new URL(request.url ?? "/", "https://webhook").pathname]?.(review.request);
    response.writeHead(answer ? 200 : 404, { "content-type": "application/json" });
    const { apiVersion, kind } = review;
    response.end(JSON.stringify({ apiVersion, kind, response: { uid: review.request.uid, ...answer } }));
  });
}).listen(Number(port), address, () => process.stdout.write("listening\n"));
