import { readdirSync, readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import type { Clock } from "../core/clock.ts";
import { IronwrightError, reasonOf } from "../core/errors.ts";
import type { Logger, Metrics } from "../observe/index.ts";
import { ipv4Text } from "../wire/index.ts";
import { openAttemptStore } from "./attempt-store.ts";
import { createBootFiles } from "./boot-files.ts";
import { type Carrier, startCarrier } from "./carrier.ts";
import type { BootAssets, BootConfig, BootPlane, InstallerHello, LeaseView } from "./contract.ts";
import { createBodySender } from "./http-body.ts";
import type { BootIdentity } from "./https.ts";
import { createJournal } from "./journal.ts";
import { openLeaseLog } from "./lease-log.ts";
import { createLoopGuard } from "./loop-guard.ts";
import { meterCommits } from "./meters.ts";
import { tooManyNeighbours } from "./neighbours.ts";
import { createNetbooting } from "./netbooting.ts";
import { createOwed } from "./owed.ts";
import { createRecords } from "./records.ts";
import { createRefusals } from "./refusals.ts";
import { loadScripts } from "./script.ts";
import { createSegment, type Segment } from "./segment.ts";
import { whyUnsigned } from "./signed-image.ts";
import type { Sockets } from "./sockets.ts";
import { openBootStore } from "./store.ts";

export interface BootPlaneOptions {
  readonly config: BootConfig;
  readonly sockets: Sockets;
  readonly assets: BootAssets;
  readonly clock: Clock;
  readonly log: Logger;
  readonly metrics?: Metrics;
  /** Path of `ironwright-native`, which moves the bytes of files; without it this process does. */
  readonly native?: string;
  /** Where the iPXE script templates are; the package's own `pxe/` by default. */
  readonly scriptsDir?: string;
}

const JOURNAL_MS = 250;

/** Where the daemon writes which NICs boot from it just now, for `ironwright-native advertise --allow`. */
export function netbootingFile(dataDir: string): string {
  return join(dataDir, "run", "netbooting");
}

/** Everything that answers a network boot. What it needs to know is on this host's disk and in memory. */
export function createBootPlane(options: BootPlaneOptions): BootPlane {
  const { config, clock, log, assets, metrics } = options;
  const store = openBootStore(join(config.dataDir, "boot.sqlite"));
  const records = createRecords(store);
  const leases = openLeaseLog({
    directory: join(config.dataDir, "leases"),
    before: store.leases(),
    onTrouble: (what, facts) => log.error(facts, what),
  });
  store.dropLeases();
  if (metrics) meterCommits(metrics, leases);
  const journal = createJournal(clock, {
    store: openAttemptStore(join(config.dataDir, "attempts.sqlite")),
    ...(metrics ? { metrics } : {}),
  });
  const refusals = createRefusals(log, clock, metrics);
  const scripts = loadScripts(options.scriptsDir ?? new URL("../../pxe/", import.meta.url));
  const waiting = new Map<string, Set<(hello: InstallerHello) => void>>();
  const segments: Segment[] = [];
  let carrier: Carrier | undefined;
  let identity: BootIdentity | undefined;
  const guard = createLoopGuard(clock);
  const netbooting = createNetbooting({
    path: netbootingFile(config.dataDir),
    clock,
    onTrouble: (error) => refusals.count("boot: who boots is not written", { error: reasonOf(error) }),
  });
  const owed = createOwed({ clock, machines: () => records.all(), addressOf: addressOfMac });
  const stopping = new AbortController();

  function onHello(hello: InstallerHello, machine: string): void {
    log.info({ machine, address: hello.address, firmware: hello.firmware }, "installer said hello");
    for (const tell of waiting.get(hello.nonce) ?? []) tell(hello);
    waiting.delete(hello.nonce);
  }

  /** The segment a machine was last seen on; the first one before it was seen at all. */
  function segmentOf(macs: readonly string[]): Segment | undefined {
    return segments.find((segment) => macs.some((mac) => segment.book.addressOf(mac) !== undefined)) ?? segments[0];
  }

  function addressOfMac(mac: string): number | undefined {
    for (const { book } of segments) {
      const address = book.addressOf(mac);
      if (address !== undefined) return address;
    }
    return undefined;
  }

  /** Attempts that nothing more is heard of end, and what changed goes to disk, a little at a time. */
  async function keepJournal(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        journal.tick();
      } catch (error) {
        refusals.count("boot: attempts not written", { error: reasonOf(error) });
      }
      await clock.sleep(JOURNAL_MS, stopping.signal).catch(() => {});
    }
  }

  function* leaseViews(from = 0): Iterable<LeaseView> {
    let at = 0;
    const now = clock.now().getTime();
    for (const { name, book } of segments) {
      for (const { address, mac, client, expires } of book.leases()) {
        at += 1;
        if (at <= from) continue;
        const machine = records.ownerOf(mac)?.machine;
        const state = client === "declined" ? "declined" : expires > now ? "bound" : "expired";
        const common = { interface: name, address: ipv4Text(address), mac, client, ...(machine ? { machine } : {}) };
        yield { ...common, state, expires: new Date(expires).toISOString() };
      }
    }
  }

  return {
    async start() {
      const programs = programsIn(assets);
      const shim = programs.get("shimx64.efi") ?? programs.get("shimaa64.efi");
      const unsigned = shim && whyUnsigned(assets.kernel, shim);
      carrier = await startCarrier({ native: options.native, clock, log });
      const { https } = config;
      const listening = config.interfaces.filter(({ mode }) => mode !== "off").map(({ address }) => address.split("/")[0] ?? "");
      if (https) {
        // certificates are much code: a plane without them answers sooner
        const { openBootIdentity } = await import("./https.ts");
        identity = await openBootIdentity({ https, directory: join(config.dataDir, "boot-pki"), addresses: listening, clock, log });
      }
      const files = createBootFiles();
      const bodies = createBodySender({ carrier, files, clock });
      for (const at of config.interfaces) {
        if (at.mode === "off") continue;
        const parts = {
          https,
          identity,
          carrier,
          files,
          bodies,
          records,
          journal,
          refusals,
          scripts,
          leases,
          clock,
          log,
          assets,
          programs,
          unsigned,
          onHello,
          guard,
          owed,
          metrics,
        };
        const onBooting = at.routerAdvertisements ? netbooting.saw : () => {};
        segments.push(await createSegment({ ...parts, at, onBooting, httpPort: config.httpPort, sockets: options.sockets }));
      }
      void keepJournal();
      const crowded = tooManyNeighbours(config.interfaces, neighbourRoom());
      if (crowded) log.warn(crowded);
      log.info({ interfaces: segments.map((segment) => segment.name), machines: records.all().length }, "boot plane is up");
    },
    async stop() {
      stopping.abort();
      await Promise.all(segments.splice(0).map((segment) => segment.stop()));
      await carrier?.stop();
      await identity?.stop();
      journal.close();
      await leases.close();
      store.close();
    },
    remember: (record) => records.put(record),
    forget(machine) {
      records.drop(machine);
      journal.forget(machine);
    },
    records: () => records.all(),
    hello(nonce, signal) {
      const said = records.helloOf(nonce);
      if (said) return Promise.resolve(said);
      return new Promise((resolve, reject) => {
        if (signal.aborted) return reject(signal.reason);
        const tellers = waiting.get(nonce) ?? new Set();
        waiting.set(nonce, tellers);
        const tell = (hello: InstallerHello) => {
          signal.removeEventListener("abort", giveUp);
          resolve(hello);
        };
        const giveUp = () => {
          tellers.delete(tell);
          if (tellers.size === 0 && waiting.get(nonce) === tellers) waiting.delete(nonce);
          reject(signal.reason);
        };
        tellers.add(tell);
        signal.addEventListener("abort", giveUp, { once: true });
      });
    },
    serveFile(nonce, name, path) {
      const record = records.byNonce(nonce);
      if (!record) throw new IronwrightError("IRW_BOOT_NONCE", { reason: "its nonce is not the current one of any machine" });
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(name))
        throw new IronwrightError("IRW_BOOT_NONCE", { reason: `${JSON.stringify(name)} cannot be a file's name in a URL` });
      const segment = segmentOf(record.macs);
      if (!segment) throw new IronwrightError("IRW_BOOT_NONCE", { reason: "the boot plane listens on no interface" });
      records.serveFile(nonce, name, path);
      return `${segment.http}/boot/${nonce}/files/${name}`;
    },
    addressOf(machine) {
      const macs = records.byMachine(machine)?.macs ?? [];
      for (const segment of segments) {
        const address = macs.map((mac) => segment.book.addressOf(mac)).find((one) => one !== undefined);
        if (address !== undefined) return ipv4Text(address);
      }
      return undefined;
    },
    lastSeen: (machine, since) => journal.lastSeen(machine, since),
    note(machine, stage, detail, model) {
      if (model !== undefined) journal.setModel(machine, model);
      journal.add(machine, stage, detail);
    },
    attempts: (machine) => journal.attempts(machine),
    history: (model) => journal.history(model),
    leases: leaseViews,
    timeline: (machine) => journal.timeline(machine),
    refused: () => refusals.all(),
    refusals: () => refusals.list(),
  };
}

/** Of the whole host; without number where it is not shown, as in a network namespace. */
function neighbourRoom(): number {
  try {
    return Number(readFileSync("/proc/sys/net/ipv4/neigh/default/gc_thresh3", "utf8"));
  } catch {
    return Number.POSITIVE_INFINITY;
  }
}

/** The network boot programs there are. Kernel and initrd must be there as well: without them every boot would fail late. */
function programsIn(assets: BootAssets): ReadonlyMap<string, string> {
  for (const [what, path] of [
    ["the installer's kernel", assets.kernel],
    ["the installer's initrd", assets.initrd],
    ["the directory of network boot programs", assets.pxeDir],
  ] as const) {
    if (!statSync(path, { throwIfNoEntry: false })) throw new IronwrightError("IRW_ARTIFACT_MISSING", { what, where: path });
  }
  const names = readdirSync(assets.pxeDir).filter((name) => /\.(kpxe|pxe|efi)$/.test(name));
  return new Map(names.map((name) => [name, join(assets.pxeDir, name)]));
}
