import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, test } from "vitest";
import { type Bmc, type BmcOptions, bmcKeeper, connectBmc } from "../../src/bmc/index.ts";
import { createTransport } from "../../src/bmc/transport.ts";
import { type Clock, systemClock } from "../../src/core/clock.ts";
import { createLog } from "../../src/observe/index.ts";
import { selfSigned } from "../../src/rack/certificate.ts";
import { bootOf, NO_OVERRIDE, type Override, type PowerUnit } from "../../src/rack/power.ts";
import { type RedfishService, redfishService } from "../../src/rack/redfish.ts";
import { freePort } from "../../src/supervise/index.ts";

/** A server in memory: everything of a BMC is real but the machine behind it. */
function memoryUnit(): PowerUnit & { readonly booted: string[] } {
  let power: "On" | "Off" = "Off";
  let override: Override = NO_OVERRIDE;
  const booted: string[] = [];
  const boot = () => {
    const { boot: order, next } = bootOf(override);
    booted.push(order.join(","));
    override = next;
    power = "On";
  };
  return {
    booted,
    power: () => power,
    override: () => override,
    async setOverride(next) {
      override = next;
    },
    async reset(kind) {
      if (kind === "ForceOff" || kind === "GracefulShutdown") power = "Off";
      else if (kind !== "On" || power === "Off") boot();
    },
  };
}

const credentials = { username: "admin", password: "s3cret:with:colons" };
const never = new AbortController().signal;
const certificate = await selfSigned("bmc-1", "127.0.0.1", new Date());
const log = createLog("error");

let unit: ReturnType<typeof memoryUnit>;
let service: RedfishService;
let address: string;
const opened: { close(): Promise<void> }[] = [];

beforeEach(async () => {
  unit = memoryUnit();
  service = redfishService({
    identity: {
      id: "node-1",
      uuid: "5a9b1c7e-0000-8000-8000-000000000001",
      manufacturer: "Ironwright (simulated)",
      model: "Virtual GPU Server",
      serial: "IW0001",
      firmware: "uefi",
      cpus: 2,
      memoryMiB: 1_536,
    },
    unit,
    credentials,
    certificate,
    clock: systemClock,
    random: randomBytes,
    sessionLimit: 2,
  });
  address = `redfish://127.0.0.1:${await service.listen("127.0.0.1", 0)}`;
});

afterEach(async () => {
  for (const one of opened.splice(0)) await one.close();
  await service.close();
});

function connect(
  more: { spec?: Partial<BmcOptions["spec"]>; credentials?: BmcOptions["credentials"]; clock?: Clock; timeoutMs?: number } = {},
): Bmc {
  const bmc = connectBmc({
    spec: { address, credentialsSecret: "x", certificateSha256: certificate.sha256, ...more.spec },
    credentials: more.credentials ?? credentials,
    clock: more.clock ?? systemClock,
    log,
    timeoutMs: more.timeoutMs ?? 5_000,
  });
  opened.push(bmc);
  return bmc;
}

/** Time passes at once: deadlines come as soon as they are waited for. */
function hurried(): Clock {
  let now = Date.parse("2026-01-01T00:00:00Z");
  return {
    now: () => new Date(now),
    async sleep(ms) {
      now += ms;
    },
  };
}

test("a server is identified, told to network boot once, switched on, restarted and switched off; one session for all", async () => {
  const bmc = connect();
  expect(await bmc.identity()).toEqual({
    manufacturer: "Ironwright (simulated)",
    model: "Virtual GPU Server",
    serial: "IW0001",
    uuid: "5a9b1c7e-0000-8000-8000-000000000001",
  });
  expect(await bmc.power()).toBe("Off");
  await bmc.bootNext("Pxe", { firmware: "uefi" });
  await bmc.setPower("On", never);
  await bmc.setPower("On", never);
  await bmc.setPower("ForceRestart", never);
  expect(unit.booted).toEqual(["network,disk", "disk,network"]);
  expect(service.openSessions()).toBe(1);
  await bmc.setPower("GracefulShutdown", never);
  await bmc.setPower("ForceOff", never);
  expect(await bmc.power()).toBe("Off");
  await bmc.setPower("ForceRestart", never);
  expect(await bmc.power()).toBe("On");
  await bmc.close();
  expect(service.openSessions()).toBe(0);
});

test("calls made at once go one after the other", async () => {
  const bmc = connect();
  const [, power] = await Promise.all([bmc.setPower("On", never), bmc.power(), bmc.identity()]);
  expect(power).toBe("On");
  expect(service.openSessions()).toBe(1);
});

test("what the caller lost while it waited for its turn is not done", async () => {
  const bmc = connect();
  const told: string[] = [];
  const before = async () => {
    told.push(unit.booted.join());
    throw new Error("lost");
  };
  const first = bmc.setPower("On", never);
  await expect(bmc.setPower("ForceRestart", never, before)).rejects.toThrow("lost");
  await expect(bmc.bootNext("Pxe", {}, before)).rejects.toThrow("lost");
  await first;
  expect([told, unit.booted]).toEqual([["disk,network", "disk,network"], ["disk,network"]]);
  await bmc.close();
});

test("a wrong password is sent once, and not again", async () => {
  const bmc = connect({ credentials: { username: "admin", password: "guess" } });
  for (let attempt = 0; attempt < 5; attempt += 1) await expect(bmc.power()).rejects.toMatchObject({ code: "IRW_BMC_CREDENTIALS" });
  expect(service.refusedLogins()).toBe(1);
});

test("a BMC with no session left, or none at all, gets Basic authentication", async () => {
  const others = [connect(), connect()];
  for (const one of others) await one.power();
  expect(service.openSessions()).toBe(2);
  expect(await connect().power()).toBe("Off");
  service.misbehave({ noSessions: true });
  const bmc = connect();
  expect(await bmc.power()).toBe("Off");
  const wrong = connect({ credentials: { username: "admin", password: "guess" } });
  await expect(wrong.power()).rejects.toMatchObject({ code: "IRW_BMC_CREDENTIALS" });
});

test("what was accepted and had no effect is an error", async () => {
  service.misbehave({ noEffect: true });
  const bmc = connect({ clock: hurried() });
  await expect(bmc.setPower("On", never)).rejects.toMatchObject({ code: "IRW_BMC_NO_EFFECT", facts: { read: "power Off" } });
  await expect(bmc.bootNext("Pxe", {})).rejects.toMatchObject({ code: "IRW_BMC_NO_EFFECT" });
});

test("an ETag that went stale is read again", async () => {
  service.misbehave({ staleEtagOnce: true });
  await connect().bootNext("Hdd", { firmware: "uefi" });
  expect(unit.override()).toEqual({ target: "Hdd", enabled: "Once" });
});

test("a mode the firmware does not have is not sent", async () => {
  await connect().bootNext("Pxe", { firmware: "bios" });
  expect(unit.override()).toEqual({ target: "Pxe", enabled: "Once" });
});

test("an answer that is too large is not read to its end", async () => {
  service.misbehave({ bodyBytes: 8 * 1_024 * 1_024 });
  await expect(connect().power()).rejects.toMatchObject({ code: "IRW_BMC_ANSWER" });
});

test("a BMC that hangs is given up on, and after three times not asked for a while", async () => {
  service.misbehave({ delayMs: 60_000 });
  const bmc = connect({ timeoutMs: 50 });
  for (let attempt = 0; attempt < 3; attempt += 1) await expect(bmc.power()).rejects.toMatchObject({ code: "IRW_BMC_UNREACHABLE" });
  await expect(bmc.power()).rejects.toThrow("did not answer 3 times");
});

test("nobody listens", async () => {
  const port = await freePort();
  await expect(connect({ spec: { address: `redfish://127.0.0.1:${port}` } }).power()).rejects.toMatchObject({
    code: "IRW_BMC_UNREACHABLE",
  });
});

test("another certificate than the pinned one gets no credentials", async () => {
  const bmc = connect({ spec: { certificateSha256: "00".repeat(32) }, credentials: { username: "admin", password: "guess" } });
  await expect(bmc.power()).rejects.toMatchObject({ code: "IRW_BMC_CERTIFICATE" });
  expect(service.refusedLogins()).toBe(0);
});

test("without a fingerprint the system's CAs decide, unless any certificate will do", async () => {
  const spec = { address, credentialsSecret: "x" };
  const make = (insecureSkipVerify: boolean) => {
    const bmc = connectBmc({ spec: { ...spec, insecureSkipVerify }, credentials, clock: systemClock, log });
    opened.push(bmc);
    return bmc;
  };
  await expect(make(false).power()).rejects.toMatchObject({
    code: "IRW_BMC_UNREACHABLE",
    facts: { reason: expect.stringContaining("self-signed") },
  });
  expect(await make(true).power()).toBe("Off");
});

test("a system that is not there is the BMC's own refusal", async () => {
  const bmc = connect({ spec: { address: `${address}/redfish/v1/Systems/nope` } });
  await expect(bmc.power()).rejects.toMatchObject({ code: "IRW_BMC_REFUSED", facts: { status: 404 } });
});

test("its manager is found from the service root, and the server and it name each other", async () => {
  const transport = createTransport(address.replace("redfish", "https"), { certificateSha256: certificate.sha256 });
  opened.push(transport);
  const authorization = `Basic ${Buffer.from(`${credentials.username}:${credentials.password}`).toString("base64")}`;
  const get = async (path: string) => (await transport.send("GET", path, { authorization })).body;
  expect(await transport.send("GET", "/redfish/v1/Managers", {})).toMatchObject({ status: 401 });
  expect(await get("/redfish/v1/")).toMatchObject({ Managers: { "@odata.id": "/redfish/v1/Managers" } });
  const member = { "@odata.id": "/redfish/v1/Managers/BMC" };
  expect(await get("/redfish/v1/Managers")).toMatchObject({ "Members@odata.count": 1, Members: [member] });
  const server = { "@odata.id": "/redfish/v1/Systems/node-1" };
  expect(await get(member["@odata.id"])).toMatchObject({ ...member, ManagerType: "BMC", Links: { ManagerForServers: [server] } });
  expect(await get(server["@odata.id"])).toMatchObject({ ...server, Links: { ManagedBy: [member] } });
});

test("kept: one session for all who connect, a refused password remembered until it changes, and no session left at the end", async () => {
  const keeper = bmcKeeper(connectBmc);
  const options = (password: string) => ({
    spec: { address, credentialsSecret: "x", certificateSha256: certificate.sha256 },
    credentials: { username: "admin", password },
    clock: systemClock,
    log,
  });
  for (let reconcile = 0; reconcile < 3; reconcile += 1) {
    const bmc = keeper.connect(options("guess"));
    await expect(bmc.power()).rejects.toMatchObject({ code: "IRW_BMC_CREDENTIALS" });
    await bmc.close();
  }
  expect(service.refusedLogins()).toBe(1);
  for (let reconcile = 0; reconcile < 3; reconcile += 1) {
    const bmc = keeper.connect(options(credentials.password));
    expect(await bmc.power()).toBe("Off");
    await bmc.close();
  }
  expect(service.openSessions()).toBe(1);
  await keeper.close();
  expect(service.openSessions()).toBe(0);
});
