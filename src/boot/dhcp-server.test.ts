import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { edk2Discover, edk2HttpDiscover, ipxeDiscover } from "../wire/golden.fixture.ts";
import { type Frame, ipv4Text, MESSAGE, OPTION, readOption } from "../wire/index.ts";
import { address, bytes, discoverFrom, edit, machine, OWN, peer, segment, selecting, text, type } from "./dhcp.fixture.ts";
import { EVERYBODY } from "./dhcp-server.ts";

describe("a known machine", () => {
  test("is offered its address and boot program, and leased the same", () => {
    const { ask } = segment({ known: [machine] });
    const offer = ask(edk2Discover);
    expect(offer.to).toEqual({ address: "255.255.255.255", port: 68 });
    expect(type(offer)).toBe(MESSAGE.offer);
    expect(text(offer.frame.file)).toBe("snponly.efi");
    expect(text(offer.frame.options.get(OPTION.bootFile))).toBe("snponly.efi");
    expect(offer.frame.serverAddress).toBe(OWN);
    expect(text(offer.frame.options.get(OPTION.hostname))).toBe("uefi-1");

    const ack = ask(selecting(edk2Discover, offer.frame.yourAddress));
    expect(type(ack)).toBe(MESSAGE.ack);
    expect(ack.frame.yourAddress).toBe(offer.frame.yourAddress);
    expect(readOption(OPTION.leaseSeconds, ack.frame.options.get(OPTION.leaseSeconds) ?? new Uint8Array())).toBe(3 * 86_400);
  });

  test("has one address whatever its client identifier, also after a restart", () => {
    const first = segment({ known: [machine] });
    const offered = first.ask(edk2Discover).frame.yourAddress;
    first.ask(selecting(edk2Discover, offered));
    const again = segment({ known: [machine], store: first.store });
    for (const id of ["firmware", "installer"]) {
      const discover = edit(edk2Discover, { [OPTION.clientIdentifier]: Buffer.from(id) });
      expect(again.ask(discover).frame.yourAddress).toBe(offered);
    }
  });

  test("keeps the address it had as a stranger", () => {
    const before = segment({ known: [] });
    const discover = edit(edk2Discover, { [OPTION.clientIdentifier]: Buffer.from("some-id") });
    const offered = before.ask(discover).frame.yourAddress;
    before.ask(selecting(discover, offered));
    expect(segment({ known: [machine], store: before.store }).ask(edk2Discover).frame.yourAddress).toBe(offered);
  });

  test("its address is never given to others, used or not", () => {
    const one = segment({ known: [machine], pool: ["10.77.0.10", "10.77.0.10"] });
    one.ask(selecting(edk2Discover, one.ask(edk2Discover).frame.yourAddress));
    one.advance(30 * 86_400);
    expect(one.server.answer(discoverFrom("52:54:00:00:00:09"), peer)).toBeUndefined();
    expect(one.refused()).toEqual({ "dhcp: no address is free": 1 });
  });

  test("by UEFI HTTP Boot gets a URL and its own vendor class back", () => {
    const offer = segment({ known: [machine] }).ask(edk2HttpDiscover);
    expect(text(offer.frame.options.get(OPTION.vendorClass))).toBe("HTTPClient");
    expect(text(offer.frame.options.get(OPTION.bootFile))).toBe("http://10.77.0.1:8080/boot/0123456789abcdefghijkl/snponly.efi");
  });

  test.each([
    [
      "HTTP Boot",
      edit(edk2HttpDiscover, {
        [OPTION.architecture]: Uint8Array.of(0, 19),
        [OPTION.vendorClass]: Buffer.from("HTTPClient:Arch:00019:UNDI:003000"),
      }),
      "http://10.77.0.1:8080/boot/0123456789abcdefghijkl/snponly-arm64.efi",
      "HTTPClient",
    ],
    ["PXE", edit(edk2Discover, { [OPTION.architecture]: Uint8Array.of(0, 11) }), "snponly-arm64.efi", ""],
  ])("of arm64 by %s gets what arm64 runs", (_, discover, file, vendorClass) => {
    const offer = segment({ known: [machine], programs: ["snponly.efi", "snponly-arm64.efi"] }).ask(discover);
    expect(text(offer.frame.options.get(OPTION.bootFile))).toBe(file);
    expect(text(offer.frame.options.get(OPTION.vendorClass))).toBe(vendorClass);
  });

  test("with its disk to boot gets an address and no boot program", () => {
    const { ask, journal } = segment({ known: [{ ...machine, intent: { boot: "disk" } }] });
    const offer = ask(edk2Discover);
    expect(type(offer)).toBe(MESSAGE.offer);
    expect(offer.frame.file.length).toBe(0);
    expect(journal.lastSeen("uefi-1")).toMatch(/was sent to its own disk/);
    expect(text(offer.frame.options.get(OPTION.vendorClass))).toBe("PXEClient");
    expect(Buffer.from(offer.frame.options.get(OPTION.vendorSpecific) ?? []).toString("hex")).toBe(
      `060103${"090d00000a"}${Buffer.from("Local disk").toString("hex")}0a0b00${Buffer.from("Local disk").toString("hex")}ff`,
    );
  });
});

describe("everybody else", () => {
  test("iPXE of a stranger is told so by a script", () => {
    const offer = segment({}).ask(ipxeDiscover);
    expect(text(offer.frame.file)).toBe("http://10.77.0.1:8080/exit/unknown.ipxe");
    expect([...(offer.frame.options.get(OPTION.ipxe) ?? [])]).toEqual([176, 1, 1]);
  });

  test("an expired lease is given on only when nothing else is free", () => {
    const one = segment({ pool: ["10.77.0.10", "10.77.0.11"] });
    const lease = (mac: string) => {
      const offer = one.ask(discoverFrom(mac));
      one.ask(selecting(discoverFrom(mac), offer.frame.yourAddress));
      return offer.frame.yourAddress;
    };
    const [a, b] = [lease("52:54:00:00:00:01"), lease("52:54:00:00:00:02")];
    expect(a).not.toBe(b);
    expect(one.server.answer(discoverFrom("52:54:00:00:00:03"), peer)).toBeUndefined();
    one.advance(3601);
    expect([a, b]).toContain(lease("52:54:00:00:00:03"));
  });

  test("a released address is free at once, a declined one is not", () => {
    const one = segment({ pool: ["10.77.0.10", "10.77.0.10"] });
    const mac = "52:54:00:00:00:01";
    const held = one.ask(discoverFrom(mac)).frame.yourAddress;
    one.ask(selecting(discoverFrom(mac), held));
    one.server.answer(edit(discoverFrom(mac), { [OPTION.messageType]: Uint8Array.of(MESSAGE.release) }, { clientAddress: held }), peer);
    expect(one.ask(discoverFrom("52:54:00:00:00:02")).frame.yourAddress).toBe(held);
    const decline = { [OPTION.messageType]: Uint8Array.of(MESSAGE.decline), [OPTION.requestedAddress]: bytes(held) };
    one.server.answer(edit(discoverFrom("52:54:00:00:00:02"), decline), peer);
    expect(one.server.answer(discoverFrom("52:54:00:00:00:03"), peer)).toBeUndefined();
  });

  test("InfiniBand, without a hardware address, is known by the GUID in its client identifier", () => {
    const guid = "00:02:c9:03:00:11:22:33";
    const { ask } = segment({ known: [{ ...machine, macs: [guid] }] });
    const clientId = Buffer.from(`ff0000000000020000 02c900${guid.replaceAll(":", "")}`.replaceAll(" ", ""), "hex");
    const offer = ask(edit(edk2Discover, { [OPTION.clientIdentifier]: clientId }, { hardwareType: 32, hardwareAddress: new Uint8Array() }));
    expect(text(offer.frame.file)).toBe("snponly.efi");
    expect(offer.frame.hardwareType).toBe(32);
    expect(Buffer.from(offer.frame.options.get(OPTION.clientIdentifier) ?? [])).toEqual(clientId);
  });
});

describe("RFC 2131 §4.3.2", () => {
  const discover = discoverFrom("52:54:00:00:00:07");
  const request = (options: Record<number, Uint8Array>, fields: Partial<Frame> = {}) =>
    edit(discover, { [OPTION.messageType]: Uint8Array.of(MESSAGE.request), ...options }, fields);

  test("a client that chose another server is left alone", () => {
    const { server } = segment({});
    const other = { [OPTION.serverIdentifier]: bytes(address("9.9.9.9")), [OPTION.requestedAddress]: bytes(address("10.77.0.10")) };
    expect(server.answer(request(other), peer)).toBeUndefined();
  });

  test("an address that was not offered is refused", () => {
    const { ask } = segment({});
    ask(discover);
    const nak = ask(request({ [OPTION.serverIdentifier]: bytes(OWN), [OPTION.requestedAddress]: bytes(address("10.77.0.199")) }));
    expect(type(nak)).toBe(MESSAGE.nak);
    expect(nak.frame.yourAddress).toBe(0);
  });

  test("a client that comes from another network is refused", () => {
    const nak = segment({}).ask(request({ [OPTION.requestedAddress]: bytes(address("192.168.1.5")) }));
    expect(type(nak)).toBe(MESSAGE.nak);
  });

  test("a client nobody has a record of hears nothing", () => {
    expect(segment({}).server.answer(request({ [OPTION.requestedAddress]: bytes(address("10.77.0.10")) }), peer)).toBeUndefined();
  });

  test("renewing is answered to the client's address", () => {
    const { ask } = segment({});
    const held = ask(discover).frame.yourAddress;
    ask(selecting(discover, held));
    const ack = ask(request({}, { clientAddress: held }));
    expect(ack.to).toEqual({ address: ipv4Text(held), port: 68 });
    expect(ack.frame.clientAddress).toBe(held);
  });

  test("another client's address is refused", () => {
    const { ask } = segment({});
    const held = ask(discover).frame.yourAddress;
    ask(selecting(discover, held));
    const thief = edit(
      discoverFrom("52:54:00:00:00:08"),
      { [OPTION.messageType]: Uint8Array.of(MESSAGE.request) },
      { clientAddress: held },
    );
    expect(type(ask(thief))).toBe(MESSAGE.nak);
  });

  test("INFORM is answered without an address or a lease", () => {
    const { ask } = segment({});
    const from = address("10.77.0.150");
    const ack = ask(edit(discover, { [OPTION.messageType]: Uint8Array.of(MESSAGE.inform) }, { clientAddress: from }));
    expect(ack.to.address).toBe("10.77.0.150");
    expect(ack.frame.yourAddress).toBe(0);
    expect(ack.frame.options.has(OPTION.leaseSeconds)).toBe(false);
  });
});

describe("relays", () => {
  const agent = Uint8Array.of(1, 4, 1, 2, 3, 4);

  test("get the answer at their own address, with their option at its end", () => {
    const offer = segment({}).ask(edit(edk2Discover, { [OPTION.relayAgent]: agent }, { relayAddress: address("10.77.0.254") }));
    expect(offer.to).toEqual({ address: "10.77.0.254", port: 67 });
    expect([...offer.frame.options.keys()].at(-1)).toBe(OPTION.relayAgent);
    expect([...(offer.frame.options.get(OPTION.relayAgent) ?? [])]).toEqual([...agent]);
  });

  test("of other networks get none", () => {
    const { server, refused } = segment({});
    expect(server.answer(edit(edk2Discover, {}, { relayAddress: address("10.9.9.9") }), peer)).toBeUndefined();
    expect(refused()).toEqual({ "dhcp: relayed from a network not configured": 1 });
  });
});

describe("leases", () => {
  const seconds = (of: { frame: Frame }, code: number) => readOption(code, of.frame.options.get(code) ?? new Uint8Array());

  test("T1 is half of a lease and T2 seven eighths (RFC 2131 §4.4.5)", () => {
    const offer = segment({ at: { lease: { machines: 8000, others: 800 } } }).ask(discoverFrom("52:54:00:00:00:01"));
    expect([OPTION.leaseSeconds, OPTION.renewalSeconds, OPTION.rebindingSeconds].map((code) => seconds(offer, code))).toEqual([
      800, 400, 700,
    ]);
  });

  test.each([
    [600, 600],
    [5, 60],
    [0xffffffff, 3600],
  ])("who asks for %i s gets %i s", (wanted, given) => {
    const offer = segment({}).ask(discoverFrom("52:54:00:00:00:01", { [OPTION.leaseSeconds]: bytes(wanted) }));
    expect(seconds(offer, OPTION.leaseSeconds)).toBe(given);
  });

  test("RFC 4361: an identifier is the client, whatever NIC it comes by", () => {
    const { ask } = segment({});
    const duid = { [OPTION.clientIdentifier]: Buffer.from("ff0000000100030001525400000001", "hex") };
    const held = ask(selecting(discoverFrom("52:54:00:00:00:01", duid), ask(discoverFrom("52:54:00:00:00:01", duid)).frame.yourAddress));
    expect(ask(discoverFrom("52:54:00:00:00:02", duid)).frame.yourAddress).toBe(held.frame.yourAddress);
    // RFC 6842
    expect(text(held.frame.options.get(OPTION.clientIdentifier))).toBe(text(duid[OPTION.clientIdentifier]));
  });
});

describe("what proves nothing", () => {
  const mac = "52:54:00:00:00:01";
  const message = (type: number, options: Record<number, Uint8Array>, fields: Partial<Frame> = {}) =>
    discoverFrom(mac, { [OPTION.messageType]: Uint8Array.of(type), ...options }, fields);
  function holding() {
    const one = segment({ pool: ["10.77.0.10", "10.77.0.10"] });
    const held = one.ask(discoverFrom(mac)).frame.yourAddress;
    one.ask(selecting(discoverFrom(mac), held));
    return { ...one, held };
  }

  test("a release of another's address, or to another server, or from elsewhere", () => {
    const { server, held, ask, refused } = holding();
    const release = (options: Record<number, Uint8Array>, address: number, from = peer) =>
      server.answer(message(MESSAGE.release, options, { clientAddress: address }), from);
    release({}, held + 1);
    release({ [OPTION.serverIdentifier]: bytes(address("10.77.0.9")) }, held);
    release({}, held, { address: "10.77.0.66", port: 68 });
    expect(server.answer(discoverFrom("52:54:00:00:00:02"), peer)).toBeUndefined();
    expect(refused()).toMatchObject({ "dhcp: a release of what it does not hold": 1, "dhcp: sent from another address than it names": 1 });
    release({ [OPTION.serverIdentifier]: bytes(OWN) }, held, { address: ipv4Text(held), port: 68 });
    expect(ask(discoverFrom("52:54:00:00:00:02")).frame.yourAddress).toBe(held);
  });

  test("a release and a decline that are replayed are counted, and change nothing of the next holder's", () => {
    const one = segment({ pool: ["10.77.0.10", "10.77.0.10"] });
    const take = (mac: string) => {
      const { yourAddress } = one.ask(discoverFrom(mac)).frame;
      one.ask(selecting(discoverFrom(mac), yourAddress));
      return yourAddress;
    };
    const held = take("52:54:00:00:00:01");
    const sayRelease = { [OPTION.messageType]: Uint8Array.of(MESSAGE.release), [OPTION.serverIdentifier]: bytes(OWN) };
    const released = edit(discoverFrom("52:54:00:00:00:01"), sayRelease, { clientAddress: held });
    const at = { address: ipv4Text(held), port: 68 };
    one.server.answer(released, at);
    expect(take("52:54:00:00:00:02")).toBe(held);
    one.server.answer(released, at);
    one.server.answer(released, at);
    expect(one.refused()).toMatchObject({ "dhcp: a release of what it does not hold": 2 });
    expect(one.dhcp.addresses.addressOf("52:54:00:00:00:02")).toBe(held);

    const decline = { [OPTION.messageType]: Uint8Array.of(MESSAGE.decline), [OPTION.requestedAddress]: bytes(held) };
    const declined = edit(discoverFrom("52:54:00:00:00:02"), decline);
    one.server.answer(declined, peer);
    one.server.answer(declined, peer);
    expect(one.refused()).toMatchObject({
      "dhcp: declined, the address is used by somebody else": 1,
      "dhcp: a decline of what it was not given": 1,
    });
  });

  test("a decline of what was never given", () => {
    const { server, held, ask, refused } = holding();
    server.answer(
      discoverFrom("52:54:00:00:00:09", { [OPTION.messageType]: Uint8Array.of(MESSAGE.decline), [OPTION.requestedAddress]: bytes(held) }),
      peer,
    );
    server.answer(
      message(MESSAGE.decline, { [OPTION.requestedAddress]: bytes(held), [OPTION.serverIdentifier]: bytes(address("10.77.0.9")) }),
      peer,
    );
    server.answer(message(MESSAGE.decline, {}), peer);
    expect(refused()).toEqual({ "dhcp: a decline of what it was not given": 2, "boot: unknown machine": 1 });
    expect(ask(discoverFrom(mac)).frame.yourAddress).toBe(held);
  });

  test("an address of elsewhere that a client names hears nothing: the answer goes to everybody here", () => {
    const elsewhere = address("203.0.113.9");
    const { ask } = segment({});
    const offer = ask(discoverFrom(mac, {}, { clientAddress: elsewhere }));
    expect(offer.to).toEqual(EVERYBODY);
    const ack = ask(selecting(discoverFrom(mac), offer.frame.yourAddress, { clientAddress: elsewhere }));
    expect([type(ack), ack.to]).toEqual([MESSAGE.ack, EVERYBODY]);
  });

  test("an inform from another network, a renewal from another address, a message longer than any client's", () => {
    const { server, held, refused } = holding();
    server.answer(message(MESSAGE.inform, {}, { clientAddress: address("10.9.9.9") }), peer);
    server.answer(message(MESSAGE.request, {}, { clientAddress: held }), { address: "10.77.0.66", port: 68 });
    server.answer(new Uint8Array(5000), peer);
    server.answer(message(MESSAGE.ack, {}), peer);
    expect(refused()).toMatchObject({
      "dhcp: an inform from another network": 1,
      "dhcp: sent from another address than it names": 1,
      "dhcp: oversized": 1,
      "dhcp: a server's message": 1,
    });
  });
});

describe("where it is not the only server", () => {
  const one = () => segment({ at: { authoritative: false } });
  const request = (wanted: string) =>
    discoverFrom("52:54:00:00:00:01", {
      [OPTION.messageType]: Uint8Array.of(MESSAGE.request),
      [OPTION.requestedAddress]: bytes(address(wanted)),
    });

  test("clients with another's address are left alone", () => {
    const { server, refused } = one();
    expect(server.answer(request("192.168.1.5"), peer)).toBeUndefined();
    expect(refused()).toEqual({ "dhcp: not ours to refuse": 1 });
  });

  test("who chose this server and then wants something else is refused all the same", () => {
    const { ask } = one();
    ask(discoverFrom("52:54:00:00:00:01"));
    expect(type(ask(selecting(discoverFrom("52:54:00:00:00:01"), address("10.77.0.199"))))).toBe(MESSAGE.nak);
  });
});

test("RFC 4390: InfiniBand without a client identifier is nobody, and is answered by broadcast without a hardware address", () => {
  const { server, ask, refused } = segment({});
  const infiniband = { hardwareType: 32, hardwareAddress: new Uint8Array() };
  expect(server.answer(discoverFrom("52:54:00:00:00:01", {}, infiniband), peer)).toBeUndefined();
  expect(refused()).toEqual({ "dhcp: no-identity": 1 });
  const id = Buffer.from("ff00000000000200000002c9000002c90300112233", "hex");
  const offer = ask(discoverFrom("52:54:00:00:00:01", { [OPTION.clientIdentifier]: id }, infiniband));
  expect([offer.to.address, offer.frame.hardwareType, offer.frame.hardwareAddress.length]).toEqual(["255.255.255.255", 32, 0]);
});

test("no datagram throws, and the next good client is answered", () => {
  const { server, ask } = segment({ known: [machine] });
  const datagram = fc.oneof(
    fc.uint8Array({ maxLength: 400 }),
    fc
      .tuple(fc.constantFrom(edk2Discover, ipxeDiscover), fc.array(fc.tuple(fc.nat(399), fc.nat(255)), { maxLength: 6 }))
      .map(([golden, edits]) => {
        const copy = Uint8Array.from(golden);
        for (const [at, value] of edits) if (at < copy.length) copy[at] = value;
        return copy;
      }),
  );
  fc.assert(
    fc.property(datagram, (bytes) => void server.answer(bytes, peer)),
    { numRuns: 5000 },
  );
  expect(type(ask(edk2Discover))).toBe(MESSAGE.offer);
});
