import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect } from "vitest";
import { type Peers, peers } from "../bench/peers.ts";
import { perfdhcp } from "./boot-clients.ts";
import { firmwareRow, longRow, roadRows, row, tellRows, travel } from "./boot-matrix-rows.ts";
import { createMatrixWorld, type MatrixWorld, ROUTER, SERVER, type TestMachine } from "./boot-matrix-world.ts";
import { artifacts } from "./boot-process.ts";

/**
 * Who boots from us: DHCP, TFTP and HTTP clients of other projects, and real firmware, on networks as sites have them. Each test
 * is a row of the table that is printed at the end.
 */
/** Of the 16 s that iPXE waits, at least; the rest is what machines differ by. */
const SAVED_S = 5;
/** The DHCP server that a site keeps. */
const SITE = "10.77.0.2";
const SECURE = "OVMF with Secure Boot, shim and GRUB";
let foreign: Peers;

beforeAll(async () => {
  foreign = await peers(["isc-dhcp-client", "dhcpcd-base", "kea-admin", "atftp", "tftp-hpa", "isc-dhcp-relay", "dnsmasq-base"]);
}, 300_000);

afterAll(tellRows);

describe("alone on the network", () => {
  let world: MatrixWorld;
  let known: TestMachine;
  let client: string;
  const network = "direct";

  beforeAll(async () => {
    world = await createMatrixWorld("a", foreign);
    known = await world.machine("known");
    client = world.network.plug("c", [{ name: "eth0", bridge: "prov0", mac: known.mac }]);
  });
  afterAll(() => world.end());

  for (const name of ["udhcpc", "dhclient", "dhcpcd"] as const) {
    row(name, network, async () => {
      const lease = await world.clients[name].lease(client);
      expect(lease).toMatchObject({ address: expect.stringMatching(/^10\.77\.0\.\d+$/), hostname: "known", router: SERVER, bootFile: "" });
      return `leased ${lease.address}, named ${lease.hostname}`;
    });
  }

  for (const name of ["udhcpc", "dhclient"] as const) {
    row(`${name} as a UEFI ROM`, network, async () => {
      const lease = await world.clients[name].lease(client, { vendorClass: "PXEClient:Arch:00007:UNDI:003001", arch: 7 });
      expect(lease).toMatchObject({ bootFile: "snponly.efi", nextServer: SERVER });
      return `told to fetch ${lease.bootFile} from ${lease.nextServer}`;
    });
    row(`${name} as UEFI HTTP Boot`, network, async () => {
      const lease = await world.clients[name].lease(client, { vendorClass: "HTTPClient:Arch:00016:UNDI:003001", arch: 16 });
      expect(lease.bootFile).toBe(`${known.url}/snponly.efi`);
      return "told the URL of snponly.efi";
    });
  }

  row("perfdhcp, 50 clients", network, async () => {
    const there = world.network.plug("p", [{ name: "eth0", bridge: "prov0", address: "10.77.0.250/24" }]);
    const [offers, acks] = await perfdhcp(world.network, foreign, there, SERVER);
    expect([offers, acks]).toEqual([
      { sent: 200, received: 200 },
      { sent: 200, received: 200 },
    ]);
    return "200 of 200 exchanges";
  });

  describe("files", () => {
    const size = readFileSync(join(artifacts.pxe, "snponly.efi")).length;
    const sum = (path: string) => createHash("sha256").update(readFileSync(path)).digest("hex");
    const wanted = sum(join(artifacts.pxe, "snponly.efi"));
    const fetched = async (command: (local: string) => readonly string[]): Promise<string> => {
      const local = join(world.directory, "fetched");
      rmSync(local, { force: true });
      await world.network.run(client, command(local), { env: foreign.env });
      expect(sum(local)).toBe(wanted);
      return `snponly.efi, ${size} bytes, the same`;
    };

    beforeAll(async () => {
      const { address } = await world.clients.udhcpc.lease(client);
      await world.network.run(client, ["ip", "addr", "replace", `${address}/24`, "dev", "eth0"]);
    });

    row("tftp-hpa", network, () =>
      fetched((local) => [foreign.program("tftp"), "-4", "-m", "binary", SERVER, "-c", "get", "snponly.efi", local]),
    );
    row("busybox tftp, blksize 1468", network, () =>
      fetched((local) => ["busybox", "tftp", "-g", "-b", "1468", "-r", "snponly.efi", "-l", local, SERVER]),
    );
    for (const options of [[], ["blksize 1428", "tsize 0"], ["blksize 1468", "windowsize 16", "timeout 2"]]) {
      row(`atftp, ${options.join(", ") || "no option"}`, network, () =>
        fetched((local) => [
          foreign.program("atftp"),
          ...options.flatMap((option) => ["--option", option]),
          ...["--get", "-r", "snponly.efi", "-l", local, SERVER],
        ]),
      );
    }
    row("curl, tftp://", network, () =>
      fetched((local) => ["curl", "-sSf", "--tftp-blksize", "1024", "-o", local, `tftp://${SERVER}/snponly.efi`]),
    );
    row("curl, http:// by nonce", network, () => fetched((local) => ["curl", "-sSf", "-o", local, `${known.url}/snponly.efi`]));
    row("curl, a part by Range", network, async () => {
      const part = await world.network.run(client, ["curl", "-sSf", "-r", "0-1", `${known.url}/snponly.efi`]);
      expect(part).toBe("MZ");
      return "the first two bytes";
    });
    row("curl with another nonce", network, async () => {
      const refused = world.network.run(client, ["curl", "-sSf", `${known.url.replace("nonce", "guess")}/kernel`]);
      await expect(refused).rejects.toThrow(/404/);
      return "404, nothing of it";
    });
  });

  describe("firmware", () => {
    roadRows(network, () => world, {
      "SeaBIOS, iPXE ROM": "hello",
      "PXE ROM, undionly.kpxe": "kernel",
      "OVMF PXE, snponly.efi": "kernel",
      "OVMF HTTP Boot, snponly.efi": "kernel",
      [SECURE]: "kernel",
    });
    firmwareRow("OVMF with Secure Boot, iPXE", network, async () => {
      const { console } = await world.boot(await world.machine("unsigned"), "uefi-secure", /Security Violation|Access Denied/);
      expect(console).toContain("NBP filename is snponly.efi");
      return "refused by the firmware: not signed";
    });
    longRow("OVMF PXE, its own disk to boot", network, async () => {
      const { stages } = await world.boot(await world.machine("disk", { intent: { boot: "disk" } }), "uefi-pxe", /Remote boot cancelled/);
      expect(stages).toEqual(["dhcp"]);
      return "sent on to its next boot device at once";
    });
    // no Redis, no apiserver, no daemon: a boot plane alone, on what one that was killed left on its disk
    row("SeaBIOS, iPXE ROM, dark start", network, async () => {
      const machine = await world.machine("dark");
      await world.restart();
      const { stages } = await world.boot(machine, "bios", "hello");
      expect(stages).toEqual(["dhcp", "script", "kernel", "initrd", "key", "hello"]);
      return "installer up";
    });
  });
});

describe.each([
  {
    relay: "isc-dhcp-relay",
    command: (near: string, far: string) => [
      foreign.program("dhcrelay"),
      "-4",
      "-d",
      "-a",
      "-iu",
      near,
      "-id",
      far,
      "-pf",
      "/dev/null",
      SERVER,
    ],
  },
  {
    relay: "dnsmasq --dhcp-relay",
    command: () => [
      foreign.program("dnsmasq"),
      "-k",
      "-p",
      "0",
      "-C",
      "/dev/null",
      "-u",
      "root",
      "-x",
      "",
      `--dhcp-relay=${ROUTER},${SERVER}`,
    ],
  },
])("behind $relay", ({ relay, command }) => {
  let world: MatrixWorld;
  let known: TestMachine;
  let client: string;

  beforeAll(async () => {
    const far = { network: "10.78.0.0/24", pool: { from: "10.78.0.10", to: "10.78.0.99" }, router: ROUTER };
    world = await createMatrixWorld("r", foreign, { subnets: [far] });
    world.behindRelay(command, foreign.env);
    known = await world.machine("known");
    client = world.network.plug("c", [{ name: "eth0", bridge: "far0", mac: known.mac }]);
  });
  afterAll(() => world.end());

  for (const name of ["udhcpc", "dhclient", "dhcpcd"] as const) {
    row(name, relay, async () => {
      const lease = await world.clients[name].lease(client);
      expect(lease).toMatchObject({ address: expect.stringMatching(/^10\.78\.0\.\d+$/), hostname: "known", router: ROUTER, bootFile: "" });
      return `leased ${lease.address}, router ${lease.router}`;
    });
  }

  const quick = { "SeaBIOS, iPXE ROM": "kernel" } as const;
  roadRows(relay, () => world, relay === "isc-dhcp-relay" ? { ...quick, "OVMF PXE, snponly.efi": "kernel" } : quick, { bridge: "far0" });
});

/** A site's own DHCP server, and a boot plane that gives no addresses. */
async function createSite(name: string, ...more: string[]): Promise<MatrixWorld> {
  const world = await createMatrixWorld(name, foreign, { mode: "auto-proxy", pool: undefined, router: undefined });
  const site = world.network.plug("site", [{ name: "eth0", bridge: "prov0", address: `${SITE}/24` }]);
  const options = ["-k", "-p", "0", "-C", "/dev/null", "-u", "root", "-x", "", "-i", "eth0", "--no-ping", ...more];
  const leases = ["--dhcp-range=10.77.0.100,10.77.0.199,1h", `--dhcp-leasefile=${join(world.directory, "dnsmasq.leases")}`];
  world.network.start(site, [foreign.program("dnsmasq"), ...options, ...leases], foreign.env);
  return world;
}

describe("beside the site's own DHCP server", () => {
  let world: MatrixWorld;
  const network = "ProxyDHCP beside dnsmasq";

  beforeAll(async () => {
    world = await createSite("p");
  });
  afterAll(() => world.end());

  for (const name of ["udhcpc", "dhclient", "dhcpcd"] as const) {
    row(name, network, async () => {
      const machine = await world.machine(name);
      const client = world.network.plug(name, [{ name: "eth0", bridge: "prov0", mac: machine.mac }]);
      const lease = await world.clients[name].lease(client);
      expect(lease).toMatchObject({ address: expect.stringMatching(/^10\.77\.0\.1\d\d$/), server: SITE, hostname: "", bootFile: "" });
      expect(await world.timeline(machine)).toEqual([]);
      return `leased ${lease.address} by dnsmasq, nothing by us`;
    });
  }

  roadRows(
    network,
    () => world,
    { "SeaBIOS, iPXE ROM": "kernel", "OVMF PXE, snponly.efi": "kernel", "OVMF HTTP Boot, snponly.efi": "kernel" },
    {
      except: SECURE,
      // a ProxyDHCP server offers on port 67, with all that is needed; what it acknowledges was asked on 4011
      async also(machine) {
        const answers = (await world.timeline(machine)).filter(({ stage, sign }) => stage === "dhcp" && sign?.what === "leased");
        expect(answers).toEqual([]);
      },
    },
  );
  // GRUB reads no ProxyDHCP offer: it asks whom the DHCP server's answer names as next server, by default itself
  longRow(SECURE, network, async () => {
    const machine = await world.machine("secure", { secureBoot: "required" });
    await world.boot(machine, "uefi-secure", /Welcome to GRUB/);
    expect(await world.plane.call("lastSeen", machine.name)).toMatch(/^fetched grubx64\.efi .* next-server/);
    return "GRUB asks dnsmasq for its configuration; the timeline says so";
  });
  longRow(SECURE, `${network}, which names us`, async () => {
    const naming = await createSite("n", `--dhcp-boot=,,${SERVER}`);
    const { says } = await travel(naming, SECURE, "hello").finally(() => naming.end());
    return says;
  });
  // nobody answers a stranger's router solicitation, which costs it 16 s
  longRow("SeaBIOS, iPXE ROM, an unknown machine", network, async () => {
    const unknown = { name: "unknown", mac: "52:54:00:77:99:99", nonce: "", url: "" };
    await world.boot(unknown, "bios", /no Machine has the boot MAC 52:54:00:77:99:99/);
    return "told on its screen to be declared";
  });
});

/** What it costs iPXE that nobody answers its router solicitations, and what the daemon's answer saves. */
for (const [client, firmware] of [
  ["SeaBIOS, iPXE ROM", "bios"],
  ["OVMF PXE, snponly.efi", "uefi-pxe"],
] as const) {
  let answered = Number.NaN;
  for (const routerAdvertisements of [true, false]) {
    longRow(client, `routerAdvertisements: ${routerAdvertisements}`, async () => {
      const world = await createMatrixWorld("v", foreign, { routerAdvertisements });
      const { seconds } = await world.boot(await world.machine("machine"), firmware, "script").finally(() => world.end());
      if (routerAdvertisements) answered = seconds;
      else expect(seconds - answered).toBeGreaterThan(SAVED_S);
      return `its script after ${seconds.toFixed(1)} s`;
    });
  }
}
