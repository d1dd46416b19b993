/** The chassis: BMCs and, while they are on, the QEMU processes of a rack's servers. `node chassis.ts CHASSIS.JSON`, in the rack's namespace. */
import { randomBytes } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { createServer, type Server as HttpServer, type IncomingMessage } from "node:http";
import { text } from "node:stream/consumers";
import { z } from "zod";
import { systemClock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import { createLog } from "../observe/index.ts";
import { bmcCertificate, type Certificate } from "./certificate.ts";
import { rackSchema, serialOf, uuidOf } from "./config.ts";
import { tapOf } from "./network.ts";
import { rackPaths } from "./paths.ts";
import { RESETS } from "./power.ts";
import { redfishService } from "./redfish.ts";
import { type QemuServer, qemuServer } from "./server.ts";
import type { ServerStatus } from "./status.ts";

const settingSchema = z.object({ rack: z.unknown(), directory: z.string(), ovmf: z.object({ code: z.string() }) });
const powerSchema = z.object({ server: z.string(), reset: z.enum(RESETS) });

interface Slot {
  readonly machine: QemuServer;
  readonly certificate: Certificate;
  readonly close: () => Promise<void>;
}

async function main(file: string): Promise<void> {
  const { rack: description, directory, ovmf } = settingSchema.parse(JSON.parse(readFileSync(file, "utf8")));
  const rack = { ...rackSchema.parse(description), directory };
  const paths = rackPaths(directory);
  const log = createLog("debug");
  const slots = new Map<string, Slot>();

  for (const [index, server] of rack.servers.entries()) {
    const at = paths.server(server.name);
    const machine = qemuServer({ rack, server, paths: at, tap: tapOf(index), ovmf, log });
    const certificate = await bmcCertificate(at, server.name, server.bmc.address, systemClock.now());
    const service = redfishService({
      identity: {
        id: server.name,
        uuid: uuidOf(rack, server),
        manufacturer: server.manufacturer,
        model: server.product,
        serial: serialOf(rack, server),
        firmware: server.firmware,
        cpus: server.cpus,
        memoryMiB: server.memoryMiB,
      },
      unit: machine,
      credentials: server.bmc,
      certificate,
      clock: systemClock,
      random: randomBytes,
    });
    await service.listen(server.bmc.address, 443);
    slots.set(server.name, { machine, certificate, close: () => service.close() });
  }

  const status = (): ServerStatus[] => [...slots.values()].map(({ machine, certificate }) => statusOf(machine, certificate));

  function statusOf(machine: QemuServer, certificate: Certificate): ServerStatus {
    const { server } = machine;
    const at = paths.server(server.name);
    const failure = machine.failure();
    return {
      name: server.name,
      power: machine.power(),
      firmware: server.firmware,
      serial: serialOf(rack, server),
      uuid: uuidOf(rack, server),
      bmc: server.bmc.address,
      certificateSha256: certificate.sha256,
      bootMAC: server.bootMAC,
      console: at.console,
      consoleLog: at.consoleLog,
      disks: server.disks.map((_, index) => at.disk(index)),
      ...(failure === undefined ? {} : { failure }),
    };
  }

  async function down(): Promise<void> {
    log.info({}, "going down");
    await Promise.all([...slots.values()].map((slot) => slot.close().then(() => slot.machine.end())));
  }

  const control = createServer((request, response) => {
    const reply = (code: number, body: object) => {
      response.writeHead(code, { "content-type": "application/json", connection: "close" });
      response.end(JSON.stringify(body));
    };
    handle(request)
      .then((body) => reply(200, body))
      .then(() => (request.url === "/down" ? end(control, paths.socket) : undefined))
      .catch((error: unknown) => reply(400, { message: reasonOf(error) }));
  });

  async function handle(request: IncomingMessage): Promise<object> {
    if (request.url === "/status") return { servers: status() };
    if (request.url === "/down") return down().then(() => ({}));
    const asked = powerSchema.parse(JSON.parse(await text(request)));
    const slot = slots.get(asked.server);
    if (!slot) throw new IronwrightError("IRW_RACK_QEMU", { server: asked.server, reason: "the rack has no such server" });
    await slot.machine.reset(asked.reset);
    return { servers: status() };
  }

  rmSync(paths.socket, { force: true });
  await new Promise<void>((resolve) => control.listen(paths.socket, resolve));
  for (const name of ["SIGTERM", "SIGINT"] as const) process.once(name, () => void down().then(() => end(control, paths.socket)));
  await Promise.all(
    [...slots.values()].map(({ machine }) =>
      machine.restore().catch((error: unknown) => log.error({ server: machine.server.name, err: error }, "did not come up again")),
    ),
  );
  log.info({ servers: slots.size }, "up");
}

function end(control: HttpServer, socket: string): void {
  control.close();
  rmSync(socket, { force: true });
}

await main(process.argv[2] ?? "");
