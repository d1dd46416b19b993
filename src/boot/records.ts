import { createHash, timingSafeEqual } from "node:crypto";
import { IronwrightError } from "../core/errors.ts";
import type { BootRecord, InstallerHello } from "./contract.ts";
import { isPlainWord } from "./script.ts";
import type { BootStore } from "./store.ts";

export type InstallerRecord = BootRecord & { readonly intent: Extract<BootRecord["intent"], { boot: "installer" }> };

/** The boot records, found by machine, by NIC and by nonce; in memory, and on disk before a change returns. */
export interface Records {
  put(record: BootRecord): void;
  drop(machine: string): void;
  all(): readonly BootRecord[];
  byMachine(machine: string): BootRecord | undefined;
  byHardware(hardware: string): BootRecord | undefined;
  /** A NIC that its switch port, or another identity of a reservation, says is this machine's. Until the daemon ends. */
  recognise(hardware: string, machine: string): void;
  /** Whose NIC it is: by the machine's own word, else as it was last recognised. */
  ownerOf(hardware: string): BootRecord | undefined;
  /** The machine whose current attempt has this nonce. */
  byNonce(nonce: string): InstallerRecord | undefined;
  file(nonce: string, name: string): string | undefined;
  serveFile(nonce: string, name: string, path: string): void;
  helloOf(nonce: string): InstallerHello | undefined;
  putHello(hello: InstallerHello): void;
}

export function createRecords(store: BootStore): Records {
  const machines = new Map<string, BootRecord>();
  const byHardware = new Map<string, BootRecord>();
  const recognised = new Map<string, string>();
  const byDigest = new Map<string, InstallerRecord>();
  const files = new Map<string, string>();
  const hellos = new Map<string, InstallerHello>();
  for (const record of store.records()) index(record);
  for (const file of store.files()) files.set(fileKey(file.nonce, file.name), file.path);
  for (const hello of store.hellos()) hellos.set(hello.nonce, hello);

  function index(record: BootRecord): void {
    machines.set(record.machine, record);
    for (const mac of record.macs) byHardware.set(mac, record);
    if (isInstaller(record)) byDigest.set(digest(record.intent.nonce), record);
  }

  function unindex(record: BootRecord, nextNonce: string | undefined): void {
    machines.delete(record.machine);
    for (const mac of record.macs) byHardware.delete(mac);
    if (!isInstaller(record)) return;
    byDigest.delete(digest(record.intent.nonce));
    if (record.intent.nonce === nextNonce) return;
    forgetNonce(record.intent.nonce);
  }

  function forgetNonce(nonce: string): void {
    store.dropNonce(nonce);
    hellos.delete(nonce);
    for (const key of files.keys()) if (key.startsWith(fileKey(nonce, ""))) files.delete(key);
  }

  return {
    put(record) {
      const problem = problemOf(record) ?? conflict(record);
      if (problem !== undefined) throw new IronwrightError("IRW_BOOT_RECORD", { machine: record.machine, reason: problem });
      const before = machines.get(record.machine);
      store.putRecord(record);
      if (before) unindex(before, isInstaller(record) ? record.intent.nonce : undefined);
      index(record);
    },
    drop(machine) {
      const before = machines.get(machine);
      store.dropRecord(machine);
      if (before) unindex(before, undefined);
    },
    all: () => [...machines.values()],
    byMachine: (machine) => machines.get(machine),
    byHardware: (hardware) => byHardware.get(hardware),
    recognise(hardware, machine) {
      recognised.delete(hardware);
      recognised.set(hardware, machine);
      for (const oldest of recognised.size > REMEMBERED ? recognised.keys() : []) {
        recognised.delete(oldest);
        break;
      }
    },
    ownerOf: (hardware) => byHardware.get(hardware) ?? machines.get(recognised.get(hardware) ?? ""),
    byNonce(nonce) {
      // looked up by digest, so that the time it takes says nothing about the nonces there are
      const record = byDigest.get(digest(nonce));
      return record && sameSecret(record.intent.nonce, nonce) ? record : undefined;
    },
    file: (nonce, name) => files.get(fileKey(nonce, name)),
    serveFile(nonce, name, path) {
      store.putFile({ nonce, name, path });
      files.set(fileKey(nonce, name), path);
    },
    helloOf: (nonce) => hellos.get(nonce),
    putHello(hello) {
      store.putHello(hello);
      hellos.set(hello.nonce, hello);
    },
  };

  function conflict(record: BootRecord): string | undefined {
    const other = record.macs.map((mac) => byHardware.get(mac)).find((one) => one !== undefined && one.machine !== record.machine);
    if (other) return `${other.machine} has one of its hardware addresses`;
    const holder = isInstaller(record) ? byDigest.get(digest(record.intent.nonce)) : undefined;
    return holder && holder.machine !== record.machine ? `its nonce is that of ${holder.machine}` : undefined;
  }
}

/** Recognised NICs; the longest unheard of is forgotten. */
const REMEMBERED = 20_000;

const NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;
const HOSTNAME = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;
/** Six octets, or eight of an InfiniBand port's GUID. */
const HARDWARE = /^[0-9a-f]{2}(:[0-9a-f]{2}){5}((:[0-9a-f]{2}){2})?$/;
/** 22 characters of base64url are 132 bits. Hex needs 32 for 128 bits and passes as well. */
const NONCE = /^[A-Za-z0-9_-]{22,64}$/;
const PUBLIC_KEY = /^(ssh|ecdsa|sk)-[a-z0-9@.-]+ [A-Za-z0-9+/=]+( [ -~]*)?$/;

function problemOf(record: BootRecord): string | undefined {
  if (!NAME.test(record.machine)) return "its name is not a DNS name";
  if (!HOSTNAME.test(record.hostname)) return `hostname ${JSON.stringify(record.hostname)} is not a DNS label`;
  if (record.macs.length === 0) return "it has no hardware address";
  const mac = record.macs.find((one) => !HARDWARE.test(one));
  if (mac !== undefined) return `${JSON.stringify(mac)} is not a hardware address in lower case with colons`;
  if (!isInstaller(record)) return undefined;
  if (!NONCE.test(record.intent.nonce)) return "its nonce is not 128 bits or more in URL-safe characters";
  if (!PUBLIC_KEY.test(record.intent.authorizedKey)) return "its authorized key is not one OpenSSH public key";
  const bad = record.intent.kernelArguments.find((argument) => !isPlainWord(argument));
  return bad === undefined ? undefined : `kernel argument ${JSON.stringify(bad)} cannot stand in an iPXE script`;
}

export function isInstaller(record: BootRecord): record is InstallerRecord {
  return record.intent.boot === "installer";
}

function fileKey(nonce: string, name: string): string {
  return `${nonce}/${name}`;
}

function digest(nonce: string): string {
  return createHash("sha256").update(nonce).digest("base64");
}

function sameSecret(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
