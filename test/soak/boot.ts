import { spawnSync } from "node:child_process";
import { availableParallelism } from "node:os";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { Worker } from "node:worker_threads";
import type { FuzzResult } from "../fuzz/boot.ts";
import type { WorkerMessage, WorkerTask } from "./boot-worker.ts";

/**
 * Fuzzed datagrams through the boot plane's codecs and answers, then the boot matrix to its end. The work is cut into portions, a
 * seed each: the same `--seed` and `--inputs` is the same work, on however many workers.
 */
const { values } = parseArgs({
  options: {
    inputs: { type: "string", default: "100000000" },
    seed: { type: "string", default: String(Math.floor(Math.random() * 0x1_0000_0000)) },
    workers: { type: "string", default: String(availableParallelism()) },
    "no-matrix": { type: "boolean", default: false },
  },
});
const inputs = Number(values.inputs);
const seed = Number(values.seed);
const workers = Number(values.workers);
if (![inputs, seed, workers].every(Number.isSafeInteger) || inputs < 1 || workers < 1) {
  console.error("--inputs, --seed and --workers are whole numbers");
  process.exit(2);
}

const PORTION = 250_000;
const SAY_EVERY_MS = 10_000;

const began = Date.now();
const tasks: WorkerTask[] = Array.from({ length: Math.ceil(inputs / PORTION) }, (_, at) => ({
  seed: (seed + at) >>> 0,
  inputs: Math.min(PORTION, inputs - at * PORTION),
}));
const portions = tasks.length;
const done: FuzzResult[] = [];
console.log(`soak boot: ${inputs} fuzzed datagrams in ${portions} portions, seed ${seed}, ${workers} workers`);

const saying = setInterval(() => console.log(line()), SAY_EVERY_MS);
const failed = await Promise.all(Array.from({ length: Math.min(workers, portions) }, work)).then(
  () => undefined,
  (error: unknown) => error,
);
clearInterval(saying);
console.log(line());
if (failed !== undefined) {
  console.error(failed);
  process.exit(1);
}

const matrix = values["no-matrix"] ? "not asked for" : runMatrix();
const { understood, answered } = total();
const memory = Math.round(process.memoryUsage().rss / 1_048_576);
console.log(
  `| ${new Date().toISOString().slice(0, 10)} | boot | ${inputs} datagrams, seed ${seed} | ${understood} understood, ${answered} answered, 0 broken; ` +
    `${Math.round((Date.now() - began) / 1000)} s on ${workers} workers, ${memory} MiB; boot matrix: ${matrix} |`,
);
if (matrix === "failed") process.exitCode = 1;

/** One worker: portions until there are no more. */
async function work(): Promise<void> {
  const worker = new Worker(new URL("boot-worker.ts", import.meta.url));
  let answer = (_: WorkerMessage) => {};
  worker.on("message", (message: WorkerMessage) => answer(message));
  worker.on("error", (error) => answer({ broken: String(error) }));
  try {
    for (let task = tasks.shift(); task; task = tasks.shift()) {
      const mine = task;
      const message = await new Promise<WorkerMessage>((resolve) => {
        answer = resolve;
        worker.postMessage(mine);
      });
      if ("broken" in message) throw new Error(`seed ${mine.seed}: ${message.broken}`);
      done.push(message.result);
    }
  } catch (error) {
    // the others stop after their portion
    tasks.length = 0;
    throw error;
  } finally {
    await worker.terminate();
  }
}

function total(): { inputs: number; understood: number; answered: number } {
  const sum = (of: (result: FuzzResult) => number) => done.reduce((all, one) => all + of(one), 0);
  return { inputs: sum((one) => one.inputs), understood: sum((one) => one.understood), answered: sum((one) => one.answered) };
}

function line(): string {
  const { inputs: sofar } = total();
  const seconds = (Date.now() - began) / 1000;
  return `  ${sofar} of ${inputs} (${Math.round(sofar / seconds)} a second, ${done.length} of ${portions} portions)`;
}

/** `npm run soak -- boot-matrix` */
function runMatrix(): "passed" | "failed" {
  const program = fileURLToPath(new URL("boot-matrix.ts", import.meta.url));
  const { status } = spawnSync(process.execPath, [program], { stdio: "inherit" });
  return status === 0 ? "passed" : "failed";
}
