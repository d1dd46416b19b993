import { parentPort } from "node:worker_threads";
import { type FuzzResult, fuzzBoot } from "../fuzz/boot.ts";

export interface WorkerTask {
  readonly seed: number;
  readonly inputs: number;
}

export type WorkerMessage = { readonly result: FuzzResult } | { readonly broken: string };

parentPort?.on("message", (task: WorkerTask) => {
  parentPort?.postMessage(run(task));
});

function run(task: WorkerTask): WorkerMessage {
  try {
    return { result: fuzzBoot(task) };
  } catch (error) {
    return { broken: error instanceof Error ? `${error.stack}${error.cause ? `\n${String(error.cause)}` : ""}` : String(error) };
  }
}
