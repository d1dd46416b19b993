import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import type { ReadyProbe } from "./supervisor.ts";

const TIMEOUT_MS = 2_000;

/** Asks once. What cannot be asked, for a certificate half written say, is not ready; it never throws. */
export async function isReady(probe: ReadyProbe): Promise<boolean> {
  return ask(probe).catch(() => false);
}

async function ask(probe: ReadyProbe): Promise<boolean> {
  if ("http" in probe) return answersHttp(probe.http);
  if ("unix" in probe) return accepts({ path: probe.unix });
  const at = probe.tcp.lastIndexOf(":");
  return accepts({ host: probe.tcp.slice(0, at), port: Number(probe.tcp.slice(at + 1)) });
}

function accepts(address: { path: string } | { host: string; port: number }): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ ...address, timeout: TIMEOUT_MS });
    const end = (ready: boolean) => {
      socket.destroy();
      resolve(ready);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
    socket.once("timeout", () => end(false));
  });
}

type HttpProbe = Extract<ReadyProbe, { http: unknown }>["http"];

function answersHttp({ url, socketPath, caFile, certFile, keyFile }: HttpProbe): Promise<boolean> {
  return new Promise((resolve) => {
    // the child may not have written its certificates yet
    const files = tlsOf({ ca: caFile, cert: certFile, key: keyFile });
    if (!files) return resolve(false);
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    const request = send(url, { ...files, ...(socketPath ? { socketPath } : {}), agent: false, timeout: TIMEOUT_MS }, (answer) => {
      answer.resume();
      resolve((answer.statusCode ?? 500) < 300);
    });
    request.once("timeout", () => request.destroy(new Error("no answer")));
    request.once("error", () => resolve(false));
    request.end();
  });
}

function tlsOf(files: Readonly<Record<string, string | undefined>>): Record<string, Buffer> | undefined {
  try {
    const given = Object.entries(files).filter((entry): entry is [string, string] => entry[1] !== undefined);
    return Object.fromEntries(given.map(([name, file]) => [name, readFileSync(file)]));
  } catch {
    return undefined;
  }
}
