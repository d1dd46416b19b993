import { readFileSync } from "node:fs";
import { request as httpRequest } from "node:http";
import { request as httpsRequest } from "node:https";
import { connect } from "node:net";
import type { ReadyProbe } from "./supervisor.ts";

const TIMEOUT_MS = 2_000;

/**
 * Asks once, for two seconds at most or until `until` aborts, whatever comes back meanwhile. What cannot be asked, for a certificate half
 * written say, is not ready; it never throws.
 */
export async function isReady(probe: ReadyProbe, until?: AbortSignal): Promise<boolean> {
  const limit = AbortSignal.timeout(TIMEOUT_MS);
  return ask(probe, until ? AbortSignal.any([limit, until]) : limit).catch(() => false);
}

async function ask(probe: ReadyProbe, signal: AbortSignal): Promise<boolean> {
  if ("http" in probe) return answersHttp(probe.http, signal);
  if ("unix" in probe) return accepts({ path: probe.unix }, signal);
  const at = probe.tcp.lastIndexOf(":");
  return accepts({ host: probe.tcp.slice(0, at), port: Number(probe.tcp.slice(at + 1)) }, signal);
}

function accepts(address: { path: string } | { host: string; port: number }, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect({ ...address, signal });
    const end = (ready: boolean) => {
      socket.destroy();
      resolve(ready);
    };
    socket.once("connect", () => end(true));
    socket.once("error", () => end(false));
  });
}

type HttpProbe = Extract<ReadyProbe, { http: unknown }>["http"];

function answersHttp({ url, socketPath, caFile, certFile, keyFile }: HttpProbe, signal: AbortSignal): Promise<boolean> {
  return new Promise((resolve) => {
    // the child may not have written its certificates yet
    const files = tlsOf({ ca: caFile, cert: certFile, key: keyFile });
    if (!files) return resolve(false);
    const send = url.startsWith("https:") ? httpsRequest : httpRequest;
    const request = send(url, { ...files, ...(socketPath ? { socketPath } : {}), agent: false, signal }, (answer) => {
      resolve((answer.statusCode ?? 500) < 300);
      // what follows may have no end
      answer.destroy();
    });
    request.on("error", () => resolve(false));
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
