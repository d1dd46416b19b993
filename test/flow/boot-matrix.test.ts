import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Peers, peers } from "../bench/peers.ts";
import { perfdhcp } from "./boot-clients.ts";
import { createMatrixWorld, type MatrixWorld, printed, ROUTER, type Row, SERVER, type TestMachine } from "./boot-matrix-world.ts";
import { artifacts } from "./boot-process.ts";

/**
 * Who boots from us: DHCP, TFTP and HTTP clients of other projects, and real firmware, on networks as sites have them. Each test
 * is a row of the table that is printed at the end.
 */
const rows: Row[] = [];
/** In `npm run soak -- boot` every firmware goes on to the installer's hello; else its kernel has to do. */
const SOAK = process.env.IRONWRIGHT_SOAK !== undefined;
let foreign: Peers;

beforeAll(async () => {
  foreign = await peers(["isc-dhcp-client", "dhcpcd-base", "kea-admin", "atftp", "tftp-hpa", "isc-dhcp-relay", "dnsmasq-base"]);
}, 300_000);

afterAll(() => console.log(`\nboot matrix\n${printed(rows)}\n`));

function row(client: string, network: string, prove: () => Promise<string>): void {
  test(`${client}, ${network}`, async () => {
    const began = Date.now();
    const result = await prove();
    rows.push({ client, network, result, seconds: (Date.now() - began) / 1000 });
  });
}

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
    row("SeaBIOS, iPXE ROM", network, async () => {
      const { stages } = await world.boot(await world.machine("bios"), "bios", "hello");
      expect(stages).toEqual(["dhcp", "script", "kernel", "initrd", "key", "hello"]);
      return "installer up";
    });
    row("PXE ROM, undionly.kpxe", network, async () => {
      const { stages } = await world.boot(await world.machine("undionly"), "bios-undionly", SOAK ? "hello" : "kernel");
      expect(stages.slice(0, 4)).toEqual(["dhcp", "tftp", "script", "kernel"]);
      return "undionly.kpxe, script, kernel";
    });
    row("OVMF PXE, snponly.efi", network, async () => {
      const { stages } = await world.boot(await world.machine("uefi"), "uefi-pxe", SOAK ? "hello" : "kernel");
      expect(stages.slice(0, 4)).toEqual(["dhcp", "tftp", "script", "kernel"]);
      return "snponly.efi, script, kernel";
    });
    row("OVMF HTTP Boot, snponly.efi", network, async () => {
      const { stages } = await world.boot(await world.machine("http"), "uefi-http", SOAK ? "hello" : "kernel");
      expect(stages.slice(0, 4)).toEqual(["dhcp", "program", "script", "kernel"]);
      return "snponly.efi by HTTP, script, kernel";
    });

    if (SOAK)
      row("OVMF PXE, its own disk to boot", network, async () => {
        const { stages } = await world.boot(await world.machine("disk", { intent: { boot: "disk" } }), "uefi-pxe", /Remote boot cancelled/);
        expect(stages).toEqual(["dhcp"]);
        return "sent on to its next boot device at once";
      });
    row("SeaBIOS, iPXE ROM, dark start", network, async () => {
      // no Redis, no apiserver, no daemon: a boot plane alone, on what one that was killed left on its disk
      const machine = await world.machine("dark");
      await world.restart();
      const { stages } = await world.boot(machine, "bios", "hello");
      expect(stages).toEqual(["dhcp", "script", "kernel", "initrd", "key", "hello"]);
      return "installer up";
    });
    row("OVMF with Secure Boot, shim and GRUB", network, async () => {
      const machine = await world.machine("secure", { secureBoot: "required" });
      const { stages, console } = await world.boot(machine, "uefi-secure", SOAK ? "hello" : /Linux version/);
      expect(stages.slice(0, 5)).toEqual(["dhcp", "tftp", "script", "kernel", "initrd"]);
      expect(console).toContain("NBP filename is shimx64.efi");
      return "shim, GRUB, signed kernel runs";
    });
    row("OVMF with Secure Boot, iPXE", network, async () => {
      const { console } = await world.boot(await world.machine("unsigned"), "uefi-secure", /Security Violation|Access Denied/);
      expect(console).toContain("NBP filename is snponly.efi");
      return "refused by the firmware: not signed";
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

  row("SeaBIOS, iPXE ROM", relay, async () => {
    const { stages } = await world.boot(await world.machine("bios"), "bios", SOAK ? "hello" : "kernel", { bridge: "far0" });
    expect(stages.slice(0, 3)).toEqual(["dhcp", "script", "kernel"]);
    return "script, kernel";
  });
  if (SOAK || relay === "isc-dhcp-relay")
    row("OVMF PXE, snponly.efi", relay, async () => {
      const { stages } = await world.boot(await world.machine("uefi"), "uefi-pxe", SOAK ? "hello" : "kernel", { bridge: "far0" });
      expect(stages.slice(0, 4)).toEqual(["dhcp", "tftp", "script", "kernel"]);
      return "snponly.efi, script, kernel";
    });
});

describe("beside the site's own DHCP server", () => {
  let world: MatrixWorld;
  const network = "ProxyDHCP beside dnsmasq";

  beforeAll(async () => {
    world = await createMatrixWorld("p", foreign, { mode: "auto-proxy", pool: undefined, router: undefined });
    const site = world.network.plug("site", [{ name: "eth0", bridge: "prov0", address: "10.77.0.2/24" }]);
    const options = ["-k", "-p", "0", "-C", "/dev/null", "-u", "root", "-x", "", "-i", "eth0", "--no-ping"];
    const leases = ["--dhcp-range=10.77.0.100,10.77.0.199,1h", `--dhcp-leasefile=${join(world.directory, "dnsmasq.leases")}`];
    world.network.start(site, [foreign.program("dnsmasq"), ...options, ...leases], foreign.env);
  });
  afterAll(() => world.end());

  /** A ProxyDHCP server offers on port 67; what it acknowledges was asked on 4011. */
  const answersBy4011 = async (machine: TestMachine) =>
    (await world.timeline(machine)).filter(({ stage, sign }) => stage === "dhcp" && sign?.what === "leased").length;

  row("udhcpc", network, async () => {
    const client = world.network.plug("c", [{ name: "eth0", bridge: "prov0", mac: (await world.machine("plain")).mac }]);
    const lease = await world.clients.udhcpc.lease(client);
    expect(lease).toMatchObject({ address: expect.stringMatching(/^10\.77\.0\.1\d\d$/), hostname: "", bootFile: "" });
    return `leased ${lease.address} by dnsmasq, nothing by us`;
  });
  row("SeaBIOS, iPXE ROM", network, async () => {
    const machine = await world.machine("bios");
    const { stages } = await world.boot(machine, "bios", SOAK ? "hello" : "kernel");
    expect(stages.slice(0, 3)).toEqual(["dhcp", "script", "kernel"]);
    expect(await answersBy4011(machine)).toBe(0);
    return "script, kernel";
  });
  row("OVMF PXE, snponly.efi", network, async () => {
    const machine = await world.machine("uefi");
    const { stages } = await world.boot(machine, "uefi-pxe", SOAK ? "hello" : "kernel");
    expect(stages.slice(0, 4)).toEqual(["dhcp", "tftp", "script", "kernel"]);
    expect(await answersBy4011(machine)).toBe(0);
    return "snponly.efi named in the offer, script, kernel";
  });
  row("OVMF HTTP Boot, snponly.efi", network, async () => {
    const { stages } = await world.boot(await world.machine("http"), "uefi-http", SOAK ? "hello" : "kernel");
    expect(stages.slice(0, 4)).toEqual(["dhcp", "program", "script", "kernel"]);
    return "snponly.efi by HTTP, script, kernel";
  });
  // nobody answers a stranger's router solicitation, which costs it 16 s
  if (SOAK)
    row("SeaBIOS, iPXE ROM, an unknown machine", network, async () => {
      const unknown = { name: "unknown", mac: "52:54:00:77:99:99", nonce: "", url: "" };
      await world.boot(unknown, "bios", /no Machine has the boot MAC 52:54:00:77:99:99/);
      return "told on its screen to be declared";
    });
  if (SOAK)
    row("PXE ROM, undionly.kpxe", network, async () => {
      await world.boot(await world.machine("undionly"), "bios-undionly", "hello");
      return "undionly.kpxe, script, kernel";
    });
});
