import { createConnection, type Socket } from "node:net";
import { setTimeout as wait } from "node:timers/promises";
import { z } from "zod";
import { reasonOf } from "../core/errors.ts";

/** An event QEMU tells of (qapi/run-state.json and others). */
export interface QmpEvent {
  readonly name: string;
  readonly data: Readonly<Record<string, unknown>>;
}

/** QEMU's machine protocol (docs/interop/qmp-spec.rst) over a Unix socket. */
export interface Qmp {
  execute(command: string, args?: object): Promise<unknown>;
  close(): void;
}

const lineSchema = z.object({
  QMP: z.unknown().optional(),
  event: z.string().optional(),
  data: z.record(z.string(), z.unknown()).optional(),
  return: z.unknown().optional(),
  error: z.object({ class: z.string(), desc: z.string() }).optional(),
});

/**
 * Connects to a QEMU that was just started, as soon as it listens.
 * @param abandoned true ends the attempts: its process is gone
 */
export async function connectQmp(path: string, onEvent: (event: QmpEvent) => void, abandoned: () => boolean): Promise<Qmp> {
  const deadline = performance.now() + 15_000;
  for (;;) {
    try {
      return await greet(await open(path), onEvent);
    } catch (error) {
      if (abandoned() || performance.now() > deadline) throw new Error(`no QMP on ${path}: ${reasonOf(error)}`, { cause: error });
      await wait(20);
    }
  }
}

function open(path: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(path);
    socket.once("connect", () => resolve(socket));
    socket.once("error", reject);
  });
}

/** Commands are answered in order, so the oldest waiting one owns the next answer. */
async function greet(socket: Socket, onEvent: (event: QmpEvent) => void): Promise<Qmp> {
  const waiting: { resolve: (value: unknown) => void; reject: (error: Error) => void }[] = [];
  const end = () => {
    for (const one of waiting.splice(0)) one.reject(new Error("QEMU closed its monitor"));
  };
  socket.on("error", end);
  socket.on("close", end);
  let text = "";
  socket.setEncoding("utf8").on("data", (chunk: string) => {
    const lines = (text + chunk).split("\n");
    text = lines.pop() ?? "";
    for (const line of lines) take(line);
  });
  function take(line: string): void {
    const parsed = lineSchema.safeParse(parseJson(line));
    if (!parsed.success) return;
    const { event, data, error } = parsed.data;
    if (event !== undefined) onEvent({ name: event, data: data ?? {} });
    else if (error) waiting.shift()?.reject(new Error(`${error.class}: ${error.desc}`));
    else if ("return" in parsed.data) waiting.shift()?.resolve(parsed.data.return);
  }
  const qmp: Qmp = {
    execute: (command, args) =>
      new Promise((resolve, reject) => {
        if (socket.destroyed) return reject(new Error("QEMU's monitor is closed"));
        waiting.push({ resolve, reject });
        socket.write(`${JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}) })}\n`);
      }),
    close: () => socket.destroy(),
  };
  await qmp.execute("qmp_capabilities");
  return qmp;
}

function parseJson(line: string): unknown {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
}
