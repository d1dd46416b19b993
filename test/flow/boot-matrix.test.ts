import { createHash } from "node:crypto";
import { readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Peers, peers } from "../bench/peers.ts";
import { perfdhcp } from "./boot-clients.ts";
import { createMatrixWorld, type MatrixWorld, printed, type Row, SERVER, type TestMachine } from "./boot-matrix-world.ts";
import { artifacts } from "./boot-process.ts";

/**
 * Who boots from us: DHCP, TFTP and HTTP clients of other projects, and real firmware, on networks as sites have them. Each test
 * is a row of the table that is printed at the end.
 */
const rows: Row[] = [];
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
      const { stages } = await world.boot(await world.machine("undionly"), "bios-undionly", "kernel");
      expect(stages).toEqual(["dhcp", "tftp", "script", "kernel"]);
      return "undionly.kpxe, script, kernel";
    });
    row("OVMF PXE, snponly.efi", network, async () => {
      const { stages } = await world.boot(await world.machine("uefi"), "uefi-pxe", "kernel");
      expect(stages).toEqual(["dhcp", "tftp", "script", "kernel"]);
      return "snponly.efi, script, kernel";
    });
    row("OVMF HTTP Boot, snponly.efi", network, async () => {
      const { stages } = await world.boot(await world.machine("http"), "uefi-http", "kernel");
      expect(stages).toContain("script");
      return "snponly.efi by HTTP, script, kernel";
    });
  });
});
