import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { edk2Discover, edk2HttpDiscover, ipxeDiscover } from "../wire/golden.fixture.ts";
import { MESSAGE, OPTION } from "../wire/index.ts";
import type { BootMode } from "./contract.ts";
import {
  address,
  atOnce,
  bytes,
  discoverFrom,
  edit,
  machine,
  OWN,
  peer,
  read,
  type SegmentFixture,
  segment,
  text,
  type,
} from "./dhcp.fixture.ts";

const proxy = (more: SegmentFixture = {}, mode: BootMode = "proxy") => {
  const one = segment({ known: [machine], at: { mode }, ...more });
  const { boots } = one.dhcp;
  if (!boots) throw new Error("no port 4011");
  const client = { address: "10.77.0.33", port: 4011 };
  const askBoots = (datagram: Uint8Array, from = client) => read(atOnce(boots.answer(datagram, from)));
  return { ...one, boots, askBoots, client };
};
const requestOf = (discover: Uint8Array, options: Record<number, Uint8Array> = {}) =>
  edit(discover, { [OPTION.messageType]: Uint8Array.of(MESSAGE.request), ...options }, { clientAddress: address("10.77.0.33") });

describe("on port 67", () => {
  test("a known machine is offered its boot program and no address", () => {
    const offer = proxy().ask(edk2Discover);
    expect([type(offer), offer.frame.yourAddress, text(offer.frame.file)]).toEqual([MESSAGE.offer, 0, "snponly.efi"]);
    expect(offer.frame.serverAddress).toBe(OWN);
    const { options } = offer.frame;
    expect(text(options.get(OPTION.vendorClass))).toBe("PXEClient");
    expect(Buffer.from(options.get(OPTION.vendorSpecific) ?? []).toString("hex")).toBe("060108ff");
    expect(options.get(OPTION.machineIdentifier)?.length).toBe(17);
    for (const code of [OPTION.leaseSeconds, OPTION.subnetMask, OPTION.router, OPTION.renewalSeconds])
      expect(options.has(code)).toBe(false);
    expect(offer.to).toEqual({ address: "255.255.255.255", port: 68 });
  });

  test("UEFI HTTP Boot is offered a URL as an HTTPClient", () => {
    const { options } = proxy().ask(edk2HttpDiscover).frame;
    expect(text(options.get(OPTION.vendorClass))).toBe("HTTPClient");
    expect(text(options.get(OPTION.bootFile))).toBe(`http://10.77.0.1:8080/boot/${"0123456789abcdefghijkl"}/snponly.efi`);
  });

  test("a machine that shall boot its disk is sent there at once", () => {
    const offer = proxy({ known: [{ ...machine, intent: { boot: "disk" } }] }).ask(edk2Discover);
    expect(offer.frame.file.length).toBe(0);
    expect(Buffer.from(offer.frame.options.get(OPTION.vendorSpecific) ?? []).toString("hex")).toContain("090d0000");
  });

  test.each([
    ["a stranger", { known: [] }, edk2Discover],
    ["iPXE of a stranger, whose own server may have a script for it", { known: [] }, ipxeDiscover],
    ["a client that does not boot", {}, discoverFrom("52:54:00:77:00:02")],
    ["a machine without a program", { programs: [] }, edk2Discover],
    ["a REQUEST, which is the other server's", {}, requestOf(edk2Discover)],
    ["a RELEASE", {}, edit(edk2Discover, { [OPTION.messageType]: Uint8Array.of(MESSAGE.release) })],
  ])("%s hears nothing", (_, more: SegmentFixture, datagram) => {
    expect(proxy(more).server.answer(datagram, peer)).toBeUndefined();
  });

  test("auto-proxy boots strangers, to tell them on their screen that they are", () => {
    const one = proxy({ known: [] }, "auto-proxy");
    expect(text(one.ask(edk2Discover).frame.file)).toBe("snponly.efi");
    expect(text(one.ask(ipxeDiscover).frame.file)).toBe("http://10.77.0.1:8080/exit/unknown.ipxe");
  });

  test("it learns from a REQUEST which address the NIC is about to have", () => {
    const one = proxy();
    one.server.answer(
      edit(edk2Discover, { [OPTION.messageType]: Uint8Array.of(MESSAGE.request), [OPTION.requestedAddress]: bytes(address("10.77.0.44")) }),
      peer,
    );
    expect(one.dhcp.addresses.macAt(address("10.77.0.44"))).toBe("52:54:00:77:00:02");
  });
});

describe("on port 4011", () => {
  test("a REQUEST is answered where it came from, with the boot program and without an address", () => {
    const ack = proxy().askBoots(requestOf(edk2Discover));
    expect([type(ack), ack.frame.yourAddress, text(ack.frame.file)]).toEqual([MESSAGE.ack, 0, "snponly.efi"]);
    expect(ack.to).toEqual({ address: "10.77.0.33", port: 4011 });
    expect(ack.frame.clientAddress).toBe(address("10.77.0.33"));
  });

  test("what a client chose from a menu comes back", () => {
    const chosen = Uint8Array.of(71, 4, 0, 9, 0, 0, 255);
    const { options } = proxy().askBoots(requestOf(edk2Discover, { [OPTION.vendorSpecific]: chosen })).frame;
    expect(Buffer.from(options.get(OPTION.vendorSpecific) ?? []).toString("hex")).toBe("060108470400090000ff");
  });

  test.each([
    ["a DISCOVER", edk2Discover, undefined, "proxy: not a request"],
    ["a client that does not boot", requestOf(discoverFrom("52:54:00:77:00:02")), undefined, "proxy: not a boot request"],
    ["another network", requestOf(edk2Discover), { address: "192.0.2.9", port: 4011 }, "proxy: sent from another address than it names"],
    [
      "another network that names no address",
      edit(requestOf(edk2Discover), {}, { clientAddress: 0 }),
      { address: "192.0.2.9", port: 4011 },
      "proxy: asked from another network",
    ],
  ])("%s hears nothing", (_, datagram, from, reason) => {
    const one = proxy();
    expect(one.boots.answer(datagram, from ?? one.client)).toBeUndefined();
    expect(one.refused()).toEqual({ [reason]: 1 });
  });

  test("no datagram throws", () => {
    const one = proxy();
    const bent = fc.array(fc.tuple(fc.nat(399), fc.nat(255)), { maxLength: 6 }).map((edits) => {
      const copy = requestOf(edk2Discover, { [OPTION.vendorSpecific]: Uint8Array.of(71, 4, 0, 9, 0, 0) });
      for (const [at, value] of edits) if (at < copy.length) copy[at] = value;
      return copy;
    });
    fc.assert(
      fc.property(bent, (datagram) => {
        one.boots.answer(datagram, one.client);
        one.server.answer(datagram, peer);
      }),
      { numRuns: 3000 },
    );
    expect(type(one.askBoots(requestOf(edk2Discover)))).toBe(MESSAGE.ack);
  });
});
