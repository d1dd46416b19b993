import { z } from "zod";
import { IronwrightError, isError } from "../core/errors.ts";
import { parseBmcAddress } from "./address.ts";
import type { Before, Bmc, BmcIdentity, BmcOptions, BootTarget, Power, PowerAction } from "./bmc.ts";
import { quirksOf } from "./quirks.ts";
import { createSession } from "./session.ts";
import { createTransport } from "./transport.ts";

/** What is read of a System: DMTF DSP0266 and the ComputerSystem schema. Everything may be missing; vendors see to that. */
const text = z
  .string()
  .nullish()
  .transform((value) => value?.trim() ?? "");
const systemSchema = z.object({
  "@odata.etag": z.string().nullish(),
  PowerState: z.string().nullish(),
  Manufacturer: text,
  Model: text,
  SerialNumber: text,
  UUID: text,
  Boot: z
    .object({
      BootSourceOverrideTarget: z.string().nullish(),
      BootSourceOverrideEnabled: z.string().nullish(),
      "BootSourceOverrideMode@Redfish.AllowableValues": z.array(z.string()).nullish(),
    })
    .nullish(),
  Actions: z
    .object({
      "#ComputerSystem.Reset": z
        .object({ target: z.string(), "ResetType@Redfish.AllowableValues": z.array(z.string()).optional() })
        .nullish(),
    })
    .nullish(),
});
type System = z.output<typeof systemSchema>;
const collectionSchema = z.object({ Members: z.array(z.object({ "@odata.id": z.string() })) });

const POLL_MS = 500;
/** Lenovo refuses an ETag read a moment before (FuturFusion/operations-center#1040). */
const WRITES = 3;
const DEADLINE_MS: Readonly<Record<PowerAction, number>> = {
  On: 90_000,
  ForceOff: 60_000,
  GracefulShutdown: 180_000,
  ForceRestart: 90_000,
};
const AFTERWARDS: Readonly<Record<PowerAction, Power>> = { On: "On", ForceOff: "Off", GracefulShutdown: "Off", ForceRestart: "On" };
/** After so many failures in a row calls fail at once for a while: a dead BMC costs everybody its timeout otherwise. */
const BREAKS_AFTER = 3;
const BROKEN_MS = 15_000;

/** A Redfish BMC: calls one at a time, every write read back. */
export function connectRedfish({ spec, credentials, clock, log, timeoutMs }: BmcOptions): Bmc {
  const { origin, system: named } = parseBmcAddress(spec.address);
  const session = createSession(createTransport(origin, spec, timeoutMs), origin, credentials);
  let place = named;
  let last: Promise<unknown> = Promise.resolve();
  let failures = 0;
  let brokenUntil = 0;

  /** Waits for the call before, then calls; keeps count of what does not answer. */
  function inTurn<T>(call: () => Promise<T>): Promise<T> {
    const turn = last.then(async () => {
      if (clock.now().getTime() < brokenUntil) {
        throw new IronwrightError("IRW_BMC_UNREACHABLE", {
          address: origin,
          reason: `it did not answer ${failures} times; asked again in a moment`,
        });
      }
      try {
        const value = await call();
        failures = 0;
        return value;
      } catch (error) {
        if (isError(error, "IRW_BMC_UNREACHABLE")) {
          failures += 1;
          if (failures >= BREAKS_AFTER) brokenUntil = clock.now().getTime() + BROKEN_MS;
        }
        throw error;
      }
    });
    last = turn.catch(() => {});
    return turn;
  }

  async function systemPlace(): Promise<string> {
    if (place) return place;
    const { body } = await session.request("GET", "/redfish/v1/Systems");
    const members = collectionSchema.safeParse(body).data?.Members ?? [];
    const [only, ...more] = members;
    if (!only || more.length > 0) {
      const problem = only
        ? `it manages ${members.length} systems; name one: ${members.map((one) => one["@odata.id"]).join(", ")}`
        : "it lists no system";
      throw new IronwrightError("IRW_BMC_ANSWER", { address: origin, request: "GET /redfish/v1/Systems", problem });
    }
    place = only["@odata.id"];
    return place;
  }

  async function read(): Promise<{ at: string; etag: string | undefined; system: System }> {
    const at = await systemPlace();
    const { body, etag } = await session.request("GET", at);
    const system = systemSchema.safeParse(body);
    if (!system.success) {
      const problem = `its System is not one: ${system.error.issues[0]?.path.join(".")} ${system.error.issues[0]?.message}`;
      throw new IronwrightError("IRW_BMC_ANSWER", { address: origin, request: `GET ${at}`, problem });
    }
    // the header is the standard's way; some only write it into the document
    return { at, etag: etag ?? system.data["@odata.etag"] ?? undefined, system: system.data };
  }

  async function reset(action: PowerAction, before: Before | undefined): Promise<void> {
    const { at, system } = await read();
    if (action !== "ForceRestart" && powerOf(system) === AFTERWARDS[action]) return;
    const offered = system.Actions?.["#ComputerSystem.Reset"];
    const ResetType = resetTypeOf(action, system, offered?.["ResetType@Redfish.AllowableValues"]);
    await before?.();
    log.debug({ bmc: origin, ResetType }, "reset");
    await session.request("POST", offered?.target ?? `${at}/Actions/ComputerSystem.Reset`, { body: { ResetType } });
  }

  /** Under the ETag just read; some BMCs change it by themselves, so a refused one is read again. */
  async function writeBoot(target: BootTarget, firmware: "bios" | "uefi" | undefined, before: Before | undefined): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      const { at, etag, system } = await read();
      const { overrideMode } = quirksOf(system.Manufacturer, system.Model);
      const mode = firmware === "uefi" ? "UEFI" : "Legacy";
      const modes = system.Boot?.["BootSourceOverrideMode@Redfish.AllowableValues"];
      const sendMode = firmware !== undefined && overrideMode === "send" && (modes?.includes(mode) ?? true);
      const Boot = {
        BootSourceOverrideTarget: target,
        BootSourceOverrideEnabled: "Once",
        ...(sendMode ? { BootSourceOverrideMode: mode } : {}),
      };
      await before?.();
      try {
        await session.request("PATCH", at, { etag, body: { Boot } });
        return;
      } catch (error) {
        const stale = isError(error, "IRW_BMC_REFUSED") && (error.facts.status === 412 || error.facts.status === 428);
        if (!stale || attempt >= WRITES) throw error;
      }
    }
  }

  return {
    address: spec.address,
    identity: () =>
      inTurn(async (): Promise<BmcIdentity> => {
        const { system } = await read();
        return { manufacturer: system.Manufacturer, model: system.Model, serial: system.SerialNumber, uuid: system.UUID.toLowerCase() };
      }),
    power: () => inTurn(async () => powerOf((await read()).system)),
    async setPower(action, signal, before) {
      await inTurn(async () => {
        signal.throwIfAborted();
        await reset(action, before);
      });
      const deadline = clock.now().getTime() + DEADLINE_MS[action];
      for (;;) {
        const state = await inTurn(async () => powerOf((await read()).system));
        if (state === AFTERWARDS[action]) return;
        if (clock.now().getTime() > deadline)
          throw new IronwrightError("IRW_BMC_NO_EFFECT", { address: origin, wrote: `reset ${action}`, read: `power ${state}` });
        await clock.sleep(POLL_MS, signal);
      }
    },
    bootNext: (target, { firmware }, before) =>
      inTurn(async () => {
        await writeBoot(target, firmware, before);
        const { Boot: now } = (await read()).system;
        if (now?.BootSourceOverrideTarget !== target || now.BootSourceOverrideEnabled === "Disabled") {
          throw new IronwrightError("IRW_BMC_NO_EFFECT", {
            address: origin,
            wrote: `boot ${target} once`,
            read: `${now?.BootSourceOverrideTarget ?? "nothing"} ${now?.BootSourceOverrideEnabled ?? ""}`,
          });
        }
      }),
    close: () => session.close(),
  };
}

/** What is sent for an action: a machine that is off cannot restart, and some BMCs only know PowerCycle. */
function resetTypeOf(action: PowerAction, system: System, allowed: readonly string[] | undefined): string {
  if (action !== "ForceRestart") return action;
  if (powerOf(system) === "Off") return "On";
  return allowed && !allowed.includes("ForceRestart") ? "PowerCycle" : action;
}

function powerOf(system: System): Power {
  if (system.PowerState === "On" || system.PowerState === "Off") return system.PowerState;
  return "Unknown";
}
