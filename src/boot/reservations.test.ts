import { describe, expect, test } from "vitest";
import { edk2Discover, edk2HttpDiscover } from "../wire/golden.fixture.ts";
import { MESSAGE, OPTION, readOption } from "../wire/index.ts";
import type { BootReservation } from "./contract.ts";
import { address, bytes, discoverFrom, edit, machine, peer, read, segment, selecting, text, type } from "./dhcp.fixture.ts";

const MAC = "52:54:00:00:00:07";
const UUID = "4c4c4544-0000-2010-8020-80c04f202021";
const port = Buffer.from([1, 11, ...Buffer.from("Ethernet1/7")]);
const atPort = { [OPTION.relayAgent]: port };
const relayed = { relayAddress: address("10.77.0.254") };
const reserving = (...reservations: BootReservation[]) => segment({ known: [machine], at: { reservations } });

describe("a reservation", () => {
  test.each<[string, BootReservation, Uint8Array]>([
    ["a MAC", { mac: MAC }, discoverFrom(MAC)],
    [
      "a client identifier",
      { clientId: "ff:00:00:00:01" },
      discoverFrom("52:54:00:00:00:99", { [OPTION.clientIdentifier]: Buffer.from("ff00000001", "hex") }),
    ],
    ["a UUID as SMBIOS prints it", { uuid: UUID }, edk2Discover],
    ["a UUID as it lies in memory", { uuid: "44454c4c-0000-1020-8020-80c04f202021" }, edk2Discover],
    ["a switch port", { circuitId: "Ethernet1/7" }, discoverFrom("52:54:00:00:00:99", atPort, relayed)],
    ["a switch port in bytes", { circuitId: "0x45:74:68:65:72:6e:65:74:31:2f:37" }, discoverFrom("52:54:00:00:00:99", atPort, relayed)],
  ])("finds its client by %s, and gives it its address and name", (_, identity, discover) => {
    const one = segment({ at: { reservations: [{ ...identity, address: "10.77.0.7", hostname: "seven" }] } });
    const offer = one.ask(discover);
    expect(offer.frame.yourAddress).toBe(address("10.77.0.7"));
    expect(text(offer.frame.options.get(OPTION.hostname))).toBe("seven");
    const ack = one.ask(selecting(discover, offer.frame.yourAddress));
    expect(type(ack)).toBe(MESSAGE.ack);
    expect(readOption(OPTION.leaseSeconds, ack.frame.options.get(OPTION.leaseSeconds) ?? new Uint8Array())).toBe(3 * 86_400);
  });

  test("its address is nobody else's, also not on request", () => {
    const one = segment({ at: { reservations: [{ mac: MAC, address: "10.77.0.50" }] } });
    const wanting = discoverFrom("52:54:00:00:00:08", { [OPTION.requestedAddress]: bytes(address("10.77.0.50")) });
    expect(one.ask(wanting).frame.yourAddress).not.toBe(address("10.77.0.50"));
    expect(one.ask(discoverFrom(MAC)).frame.yourAddress).toBe(address("10.77.0.50"));
  });

  test("a switch port keeps its address when the server on it is exchanged", () => {
    const one = segment({ at: { reservations: [{ circuitId: "Ethernet1/7", address: "10.77.0.7" }] } });
    for (const mac of ["52:54:00:00:00:01", "52:54:00:00:00:02"]) {
      const discover = discoverFrom(mac, atPort, relayed);
      const offer = one.ask(discover);
      expect(offer.frame.yourAddress).toBe(address("10.77.0.7"));
      expect(type(one.ask(selecting(discover, offer.frame.yourAddress)))).toBe(MESSAGE.ack);
    }
  });

  test("a switch port names the machine, whatever its MAC", () => {
    const discover = edit(edk2Discover, atPort, { ...relayed, hardwareAddress: Buffer.from("525400000099", "hex") });
    const one = reserving({ circuitId: "Ethernet1/7", machine: "uefi-1" });
    const offer = one.ask(discover);
    expect([text(offer.frame.file), text(offer.frame.options.get(OPTION.hostname))]).toEqual(["snponly.efi", "uefi-1"]);
    // its installer's hello will come from this NIC
    expect(one.recognised).toEqual([["52:54:00:00:00:99", "uefi-1"]]);
  });

  test("what a client itself says of its port is not believed, unless switches that are no relays say it here", () => {
    const reservations = [{ circuitId: "Ethernet1/7", address: "10.77.0.7" }];
    const discover = discoverFrom("52:54:00:00:00:99", atPort);
    expect(segment({ at: { reservations } }).ask(discover).frame.yourAddress).not.toBe(address("10.77.0.7"));
    expect(segment({ at: { reservations, snooping: true } }).ask(discover).frame.yourAddress).toBe(address("10.77.0.7"));
  });

  test("a port and its switch together win over the port alone", () => {
    const reservations = [
      { circuitId: "Ethernet1/7", address: "10.77.0.7" },
      { circuitId: "Ethernet1/7", remoteId: "leaf2", address: "10.77.0.8" },
    ];
    const onLeaf2 = { [OPTION.relayAgent]: Buffer.from([...port, 2, 5, ...Buffer.from("leaf2")]) };
    const one = segment({ at: { reservations } });
    expect(one.ask(discoverFrom(MAC, onLeaf2, relayed)).frame.yourAddress).toBe(address("10.77.0.8"));
    expect(one.ask(discoverFrom(MAC, atPort, relayed)).frame.yourAddress).toBe(address("10.77.0.7"));
  });

  test("Secure Boot may be required of one machine alone", () => {
    const one = segment({
      known: [machine],
      programs: ["snponly.efi", "shimx64.efi", "grubx64.efi"],
      at: { reservations: [{ uuid: UUID, secureBoot: "required" }] },
    });
    expect(text(one.ask(edk2Discover).frame.file)).toBe("shimx64.efi");
    expect(text(one.ask(edit(edk2Discover, { [OPTION.machineIdentifier]: new Uint8Array(17) })).frame.file)).toBe("snponly.efi");
  });
});

describe("options", () => {
  const dns = { code: 6, value: ["10.77.0.53"] };
  const asked = (...codes: number[]) => ({ [OPTION.parameterList]: Uint8Array.from(codes) });

  test("go to who asks for them, to who asks for nothing, and always where that is said", () => {
    const one = segment({ at: { options: [dns, { code: 26, value: 9000, always: true }] } });
    const got = (options: Record<number, Uint8Array>) => [...one.ask(discoverFrom(MAC, options)).frame.options.keys()];
    expect(got(asked(6))).toEqual(expect.arrayContaining([6, 26]));
    expect(got(asked(1))).toContain(26);
    expect(got(asked(1))).not.toContain(6);
    expect(got({})).toEqual(expect.arrayContaining([6, 26]));
  });

  test("are matched by vendor class and by architecture", () => {
    const one = segment({
      at: {
        options: [
          { code: 43, hex: "01:02", when: { vendorClass: "iDRAC" } },
          { code: 66, value: "arm.example", when: { arch: ["arm64-uefi"] } },
        ],
      },
    });
    const arm = { [OPTION.architecture]: Uint8Array.of(0, 11) };
    expect([...(one.ask(discoverFrom(MAC, { [OPTION.vendorClass]: Buffer.from("iDRAC9") })).frame.options.get(43) ?? [])]).toEqual([1, 2]);
    expect(one.ask(discoverFrom(MAC)).frame.options.has(43)).toBe(false);
    expect(text(one.ask(discoverFrom(MAC, arm)).frame.options.get(66))).toBe("arm.example");
    expect(one.ask(discoverFrom(MAC)).frame.options.has(66)).toBe(false);
  });

  test("a client's own win over its network's, and those over the interface's", () => {
    const own = { code: 15, value: "own.example" };
    const one = segment({
      at: {
        options: [
          { code: 15, value: "all.example" },
          { code: 42, value: ["10.0.0.1"] },
        ],
        reservations: [{ mac: MAC, options: [own] }],
        subnets: [
          { network: "10.78.0.0/24", pool: { from: "10.78.0.10", to: "10.78.0.20" }, options: [{ code: 15, value: "rack.example" }] },
        ],
      },
    });
    const of = (mac: string, relay = 0) => text(one.ask(discoverFrom(mac, {}, { relayAddress: relay })).frame.options.get(15));
    expect(of(MAC)).toBe("own.example");
    expect(of("52:54:00:00:00:08")).toBe("all.example");
    expect(of("52:54:00:00:00:08", address("10.78.0.1"))).toBe("rack.example");
  });

  test("RFC 3442: who asks for routes gets the default one among them", () => {
    const one = segment({ at: { router: "10.77.0.254", routes: [{ to: "10.0.0.0/8", via: "10.77.0.253" }] } });
    const { options } = one.ask(discoverFrom(MAC, asked(3, 121))).frame;
    expect([...(options.get(OPTION.classlessRoutes) ?? [])]).toEqual([8, 10, 10, 77, 0, 253, 0, 10, 77, 0, 254]);
    expect([...(options.get(OPTION.router) ?? [])]).toEqual([10, 77, 0, 254]);
    expect(one.ask(discoverFrom(MAC, asked(3))).frame.options.has(OPTION.classlessRoutes)).toBe(false);
  });
});

describe("BMCs", () => {
  const bmc = { pool: { from: "10.77.0.210", to: "10.77.0.211" }, vendorClasses: ["iDRAC"], ouis: ["50:7c:6f"] };
  const one = () => segment({ at: { bmc } });

  test("get addresses of a range of their own, by vendor class or by the beginning of their MAC", () => {
    const { ask } = one();
    const idrac = ask(discoverFrom(MAC, { [OPTION.vendorClass]: Buffer.from("iDRAC") }));
    const other = ask(discoverFrom("50:7c:6f:00:00:01"));
    expect([idrac, other].map(({ frame }) => frame.yourAddress).sort()).toEqual([address("10.77.0.210"), address("10.77.0.211")]);
  });

  test("nobody else gets one, and they get none of the others'", () => {
    const { ask, server, refused } = one();
    const wanting = discoverFrom(MAC, { [OPTION.requestedAddress]: bytes(address("10.77.0.210")) });
    expect(ask(wanting).frame.yourAddress).toBeLessThan(address("10.77.0.210"));
    for (const last of [1, 2]) ask(discoverFrom(`50:7c:6f:00:00:0${last}`));
    expect(server.answer(discoverFrom("50:7c:6f:00:00:03"), peer)).toBeUndefined();
    expect(refused()).toMatchObject({ "dhcp: no address is free": 1 });
  });
});

test("strangers leave addresses for known machines that have none yet", () => {
  const known = ["01", "02"].map((last) => ({ ...machine, machine: `m-${last}`, macs: [`52:54:00:77:01:${last}`] }));
  const one = segment({ known, pool: ["10.77.0.10", "10.77.0.13"] });
  const lease = (mac: string) => one.ask(selecting(discoverFrom(mac), one.ask(discoverFrom(mac)).frame.yourAddress)).frame.yourAddress;
  const strangers = [lease("52:54:00:00:00:01"), lease("52:54:00:00:00:02")];
  expect(one.server.answer(discoverFrom("52:54:00:00:00:03"), peer)).toBeUndefined();
  const machines = known.map(({ macs }) => lease(macs[0] ?? ""));
  expect(new Set([...strangers, ...machines]).size).toBe(4);
  // those that went may come back, and another takes the place of who is gone
  one.advance(3601);
  expect(strangers).toContain(lease("52:54:00:00:00:03"));
});

test("a machine that gets the same again and again and never comes further is sent to its disk for a while", () => {
  const one = segment({ known: [machine] });
  const boot = (transactionId: number, discover = edk2Discover) => {
    const offer = one.ask(edit(discover, {}, { transactionId }));
    return one.ask(selecting(edit(discover, {}, { transactionId }), offer.frame.yourAddress));
  };
  for (let at = 1; at <= 6; at++) expect(text(boot(at).frame.file)).toBe("snponly.efi");
  // the sixth REQUEST sent again is the same boot
  expect(boot(7).frame.file.length).toBe(0);
  expect(text(boot(8, edk2HttpDiscover).frame.file)).toBe("http://10.77.0.1:8080/exit/disk.efi");
  expect(one.refused()).toMatchObject({ "boot: loop": expect.any(Number) });
  one.advance(301);
  expect(text(boot(9).frame.file)).toBe("snponly.efi");
});

test("who boots from here is told, for the router advertisements; an installed system is not", () => {
  const one = segment({ known: [machine] });
  one.ask(discoverFrom("52:54:00:77:00:02"));
  one.ask(discoverFrom("52:54:00:00:00:01"));
  expect(one.booting).toEqual([]);
  one.ask(edk2Discover);
  expect(one.booting).toEqual(["52:54:00:77:00:02"]);
});

describe("the conflict probe", () => {
  test("is asked once for an address that nobody had, and passes over those that answer", async () => {
    const used = new Set<number>();
    const asked: number[] = [];
    const probe = { isUsed: (at: number) => Promise.resolve(asked.push(at) > 0 && used.has(at)), stop: () => {} };
    const one = segment({ at: { conflictProbe: true }, probe, pool: ["10.77.0.10", "10.77.0.12"] });
    const first = (await one.server.answer(discoverFrom("52:54:00:00:00:01"), peer))?.datagram;
    expect(first && asked.length).toBe(1);
    const held = asked[0] ?? 0;
    one.ask(selecting(discoverFrom("52:54:00:00:00:01"), held));
    // it has its lease: nobody is asked
    expect(one.ask(discoverFrom("52:54:00:00:00:01")).frame.yourAddress).toBe(held);
    const others = [10, 11, 12].map((last) => address(`10.77.0.${last}`)).filter((at) => at !== held);
    used.add(others[0] ?? 0);
    const outgoing = await one.server.answer(discoverFrom("52:54:00:00:00:02", { [OPTION.requestedAddress]: bytes(others[0] ?? 0) }), peer);
    expect([...(outgoing?.datagram.subarray(16, 20) ?? [])]).toEqual([...bytes(others[1] ?? 0)]);
    expect(one.refused()).toMatchObject({ "dhcp: the address is used by somebody else": 1 });
  });

  test("is asked again before an address is reused: an expired lease spares its own client alone", async () => {
    const asked: number[] = [];
    const probe = { isUsed: (at: number) => Promise.resolve(asked.push(at) === 0), stop: () => {} };
    const one = segment({ at: { conflictProbe: true }, probe, pool: ["10.77.0.10", "10.77.0.10"] });
    const [first, second] = [discoverFrom("52:54:00:00:00:01"), discoverFrom("52:54:00:00:00:02")];
    const held = address("10.77.0.10");
    await one.server.answer(first, peer);
    one.ask(selecting(first, held));
    one.advance(7200);
    expect(one.ask(first).frame.yourAddress).toBe(held);
    expect(asked).toEqual([held]);
    one.advance(61); // its offer is over
    expect(read(await one.server.answer(second, peer)).frame.yourAddress).toBe(held);
    expect(asked).toEqual([held, held]);
  });

  test("holds up nobody else", () => {
    const probe = { isUsed: () => new Promise<boolean>(() => {}), stop: () => {} };
    const one = segment({ known: [machine], at: { conflictProbe: true, reservations: [] }, probe });
    expect(one.server.answer(discoverFrom("52:54:00:00:00:01"), peer)).toBeInstanceOf(Promise);
    const inform = edit(
      discoverFrom(MAC),
      { [OPTION.messageType]: Uint8Array.of(MESSAGE.inform) },
      { clientAddress: address("10.77.0.9") },
    );
    expect(type(one.ask(inform))).toBe(MESSAGE.ack);
  });
});
