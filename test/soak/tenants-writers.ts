import { systemClock } from "../../src/core/clock.ts";
import { CONFIG_MAP, type Kube } from "../../src/kube/index.ts";

/** People who write all the time, try again until they succeed, and remember what was acknowledged. */
export interface Writers {
  /** How many writes were acknowledged, ever. */
  acknowledged(): number;
  pause(): Promise<void>;
  resume(): void;
  /** What an apiserver has lost, or made up, of what it acknowledged; pauses while it looks. Created objects that are there are deleted. */
  missing(): Promise<readonly string[]>;
  stop(): Promise<void>;
}

const PATIENCE_MS = 20_000;
const EVERY_MS = 60;
const PATH = "/api/v1/namespaces/default/configmaps";

export function startWriters(kube: Kube, count: number): Writers {
  let acknowledged = 0;
  let paused: Promise<void> | undefined;
  let goOn = () => {};
  const ending = new AbortController();
  const writers = Array.from({ length: count }, (_, nth) => ({ nth, tried: 0, counted: 0, made: new Set<string>(), idle: true }));
  type Writer = (typeof writers)[number];

  /** A counter, and each eighth time an object. What was not answered may have been done. */
  async function write(writer: Writer): Promise<void> {
    writer.tried += 1;
    const { nth, tried } = writer;
    if (tried % 8 === 0) {
      const name = `made-${nth}-${tried}`;
      await kube.raw("POST", PATH, object(name), { timeoutMs: PATIENCE_MS });
      writer.made.add(name);
    } else {
      const apply = { contentType: "application/apply-patch+yaml", timeoutMs: PATIENCE_MS };
      const path = `${PATH}/counter-${nth}?fieldManager=soak&force=true`;
      await kube.raw("PATCH", path, { ...object(`counter-${nth}`), data: { count: String(tried) } }, apply);
      writer.counted = tried;
    }
    acknowledged += 1;
  }

  async function work(writer: Writer): Promise<void> {
    while (!ending.signal.aborted) {
      writer.idle = paused !== undefined;
      if (paused) await paused;
      writer.idle = false;
      await write(writer).catch(() => {});
      await systemClock.sleep(EVERY_MS, ending.signal).catch(() => {});
    }
    writer.idle = true;
  }
  const working = writers.map(work);

  async function pause(): Promise<void> {
    paused ??= new Promise((resolve) => {
      goOn = resolve;
    });
    while (writers.some((one) => !one.idle)) await systemClock.sleep(20);
  }

  function resume(): void {
    paused = undefined;
    goOn();
  }

  async function wrongOf({ nth, counted, tried, made }: Writer): Promise<readonly string[]> {
    const wrong: string[] = [];
    const counter = Number((await kube.get(CONFIG_MAP, `counter-${nth}`, "default"))?.data?.count ?? 0);
    if (counter < counted || counter > tried) wrong.push(`counter-${nth} is ${counter}; acknowledged ${counted}, tried ${tried}`);
    for (const name of made) {
      const there = await kube.get(CONFIG_MAP, name, "default");
      if (!there) {
        // it stays among those that are looked for: this look may be given up
        wrong.push(`${name} is not there`);
        continue;
      }
      // first: a deletion that was done and not answered is no loss
      made.delete(name);
      await kube.delete(CONFIG_MAP, name, { namespace: "default" });
    }
    return wrong;
  }

  return {
    acknowledged: () => acknowledged,
    pause,
    resume,
    async missing() {
      await pause();
      // all of them to their end: one that goes on while it is asked again would be told of an object that it deleted itself just then
      const looks = await Promise.allSettled(writers.map(wrongOf));
      const failed = looks.find((look) => look.status === "rejected");
      if (failed) throw failed.reason;
      resume();
      return looks.flatMap((look) => (look.status === "fulfilled" ? look.value : []));
    },
    async stop() {
      ending.abort(new Error("the soak ends"));
      resume();
      await Promise.all(working);
    },
  };
}

function object(name: string): object {
  return { apiVersion: "v1", kind: "ConfigMap", metadata: { name, namespace: "default" } };
}
