import type { Kind, Resource } from "../core/resources.ts";
import type { WatchEvent } from "./kube.ts";
import { isStatus, type Refusal } from "./status.ts";

/** The events of a watch's body: one JSON document a line. */
export async function* watchEvents<T extends Resource>(
  body: AsyncIterable<Uint8Array>,
  kind: Kind<T>,
  failure: (refusal: Refusal) => Error,
): AsyncGenerator<WatchEvent<T>> {
  for await (const line of lines(body)) {
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
        throw failure(refusalOf(event.object, kind));
    }
  }
}

/** An `ERROR` event carries a Status; 410 in it means what HTTP 410 means. */
function refusalOf(object: unknown, kind: Kind): Refusal {
  if (!isStatus(object)) return { code: 500, text: `a watch of ${kind.plural} sent what is no event` };
  return { code: object.code ?? 500, status: object, text: object.message ?? "no reason given" };
}

async function* lines(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    // what was searched once for a line's end is not searched again: an object may come in many chunks
    let from = rest.length;
    rest += decoder.decode(chunk, { stream: true });
    let start = 0;
    for (let end = rest.indexOf("\n", from); end !== -1; end = rest.indexOf("\n", from)) {
      if (end > start) yield rest.slice(start, end);
      start = end + 1;
      from = start;
    }
    rest = rest.slice(start);
  }
}
