import type { IncomingMessage } from "node:http";

export class TooLarge extends Error {}

/** A whole message. @throws TooLarge */
export async function readText(from: IncomingMessage, largestBytes: number): Promise<string> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of from as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > largestBytes) throw new TooLarge(`a message is larger than ${largestBytes} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}
