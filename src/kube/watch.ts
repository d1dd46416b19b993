import type { Kind, Resource } from "../core/resources.ts";
import type { WatchEvent } from "./kube.ts";
import { isStatus, type Refusal } from "./status.ts";

/** The events of a watch's body: one JSON document a line. */
export async function* watchEvents<T extends Resource>(
  body: AsyncIterable<Uint8Array>,
  kind: Kind<T>,
  failures: { refused(refusal: Refusal): Error; tooLarge(bytes: number): Error },
): AsyncGenerator<WatchEvent<T>> {
  for await (const line of lines(body, failures.tooLarge)) {
    const event = JSON.parse(line) as { type: string; object: unknown };
    switch (event.type) {
      case "ADDED":
      case "MODIFIED":
      case "DELETED":
        yield { type: event.type, object: event.object as T };
        break;
      case "BOOKMARK":
        yield { type: "BOOKMARK", resourceVersion: (event.object as T).metadata.resourceVersion ?? "" };
        break;
      default:
        throw failures.refused(refusalOf(event.object, kind));
    }
  }
}

/** An `ERROR` event carries a Status; 410 in it means what HTTP 410 means. */
function refusalOf(object: unknown, kind: Kind): Refusal {
  if (!isStatus(object)) return { code: 500, text: `a watch of ${kind.plural} sent what is no event` };
  return { code: object.code ?? 500, status: object, text: object.message ?? "no reason given" };
}

/** etcd takes objects of some megabytes at most. */
const LARGEST_LINE = 16 * 2 ** 20;
const LINE_FEED = 10;

async function* lines(body: AsyncIterable<Uint8Array>, tooLarge: (bytes: number) => Error): AsyncGenerator<string> {
  // joined once, when the line is whole: an object may come in many chunks
  let parts: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      const line = Buffer.concat([...parts, chunk.subarray(start, end)]).toString("utf8");
      [parts, size, start] = [[], 0, end + 1];
      if (line !== "") yield line;
    }
    parts.push(chunk.subarray(start));
    size += chunk.length - start;
    if (size > LARGEST_LINE) throw tooLarge(LARGEST_LINE);
  }
}
