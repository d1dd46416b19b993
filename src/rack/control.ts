import { Agent, request } from "undici";
import { z } from "zod";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Rack } from "./config.ts";
import { rackPaths } from "./paths.ts";
import type { Reset } from "./power.ts";
import { type ServerStatus, serverStatusSchema } from "./status.ts";

const answerSchema = z.object({ servers: z.array(serverStatusSchema).default([]) });
const faultSchema = z.object({ message: z.string() });

/** Asks the chassis over its Unix socket. */
export async function askChassis(
  rack: Rack,
  path: "/status" | "/down" | "/power",
  body?: { server: string; reset: Reset },
): Promise<readonly ServerStatus[]> {
  const dispatcher = new Agent({ connect: { socketPath: rackPaths(rack.directory).socket } });
  try {
    const answer = await request(`http://chassis${path}`, {
      dispatcher,
      method: body || path === "/down" ? "POST" : "GET",
      ...(body ? { body: JSON.stringify(body) } : {}),
      headersTimeout: 30_000,
    }).catch((error: unknown) => {
      throw new IronwrightError("IRW_RACK_DOWN", { name: rack.name, reason: reasonOf(error) }, error);
    });
    const document = await answer.body.json();
    if (answer.statusCode === 200) return answerSchema.parse(document).servers;
    throw new IronwrightError("IRW_RACK_QEMU", { server: body?.server ?? rack.name, reason: faultSchema.parse(document).message });
  } finally {
    await dispatcher.destroy();
  }
}
