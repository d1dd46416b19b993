import { Agent, request } from "undici";

/** A key and its value in protobuf's JSON: base64. */
export interface WireKeyValue {
  readonly key?: string;
  readonly value?: string;
}

/** One key that was put or deleted. */
export interface Write {
  readonly key: string;
  /** Of key and value; a deletion weighs its key. */
  readonly bytes: number;
  readonly deleted: boolean;
}

interface WireWatch {
  readonly result?: {
    readonly header?: { readonly revision?: string };
    readonly created?: boolean;
    readonly canceled?: boolean;
    readonly cancel_reason?: string;
    readonly events?: readonly { readonly type?: string; readonly kv?: WireKeyValue }[];
  };
  readonly error?: { readonly message?: string };
}

/** etcd reports progress every few seconds where nothing happens: silence means that it hangs. */
const SILENCE_MS = 30_000;

/**
 * One watch over every key, by the JSON gateway. Values come along, since etcd has no watch without them, and are not
 * decoded: their length is all one wants.
 */
export async function watchWrites(
  at: {
    readonly endpoint: string;
    readonly tls: { readonly ca: string; readonly cert: string; readonly key: string };
    readonly authorization: string;
  },
  onWrite: (write: Write) => void,
  onOpen: (revision: number) => void,
  signal: AbortSignal,
): Promise<void> {
  const agent = new Agent({ connect: { ...at.tls }, bodyTimeout: SILENCE_MS, headersTimeout: SILENCE_MS });
  try {
    const everything = Buffer.of(0).toString("base64");
    const answer = await request(`${at.endpoint}/v3/watch`, {
      method: "POST",
      dispatcher: agent,
      signal,
      headers: { "content-type": "application/json", authorization: at.authorization },
      body: JSON.stringify({ create_request: { key: everything, range_end: everything, progress_notify: true, fragment: true } }),
    });
    for await (const line of linesOf(answer.body)) {
      const { result, error } = JSON.parse(line) as WireWatch;
      if (error || !result || result.canceled) throw new Error(error?.message ?? result?.cancel_reason ?? line.slice(0, 200));
      if (result.created) onOpen(Number(result.header?.revision ?? 0));
      for (const { type, kv = {} } of result.events ?? []) {
        // protobuf's JSON leaves zero values out, and PUT is 0
        onWrite({ key: Buffer.from(kv.key ?? "", "base64").toString(), bytes: sizeOf(kv), deleted: type === "DELETE" });
      }
    }
    throw new Error("the stream ended");
  } finally {
    await agent.destroy();
  }
}

/** Bytes of a key and its value, read off their base64. */
export function sizeOf({ key = "", value = "" }: WireKeyValue): number {
  return lengthOf(key) + lengthOf(value);
}

function lengthOf(base64: string): number {
  const padding = base64.endsWith("==") ? 2 : base64.endsWith("=") ? 1 : 0;
  return (base64.length / 4) * 3 - padding;
}

async function* linesOf(body: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let held: Buffer[] = [];
  for await (const chunk of body) {
    let from = 0;
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, from)) {
      yield Buffer.concat([...held, chunk.subarray(from, end)]).toString();
      held = [];
      from = end + 1;
    }
    if (from < chunk.length) held.push(chunk.subarray(from));
  }
}
