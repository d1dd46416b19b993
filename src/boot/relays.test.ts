import { describe, expect, test } from "vitest";
import { edk2Discover } from "../wire/golden.fixture.ts";
import { type Frame, ipv4Text, MESSAGE, OPTION } from "../wire/index.ts";
import type { BootInterface } from "./contract.ts";
import {
  address,
  bytes,
  discoverFrom,
  edit,
  machine,
  OWN,
  peer,
  type SegmentFixture,
  segment,
  selecting,
  text,
  type,
} from "./dhcp.fixture.ts";

const RELAY = address("10.78.0.254");
const at: Partial<BootInterface> = {
  subnets: [
    { network: "10.78.0.0/24", router: "10.78.0.254", pool: { from: "10.78.0.10", to: "10.78.0.99" } },
    { network: "10.79.0.0/24", relays: ["192.0.2.1"], pool: { from: "10.79.0.10", to: "10.79.0.99" } },
  ],
};
const rack = (more: SegmentFixture = {}) => segment({ at, ...more });
const fromRelay = { address: "10.78.0.254", port: 67 };

/** Sub-options of option 82. */
function agent(...subOptions: [code: number, value: Uint8Array][]): Record<number, Uint8Array> {
  return { [OPTION.relayAgent]: Buffer.concat(subOptions.map(([code, value]) => Buffer.from([code, value.length, ...value]))) };
}

function relayed(datagram: Uint8Array, options: Record<number, Uint8Array> = {}, fields: Partial<Frame> = {}): Uint8Array {
  return edit(datagram, options, { relayAddress: RELAY, hops: 1, ...fields });
}

describe("RFC 2131 §4.1 and §4.3.1", () => {
  test("the relay's address names the network, and gets the answer", () => {
    const one = rack({ known: [machine] });
    const offer = one.ask(relayed(edk2Discover), fromRelay);
    expect(offer.to).toEqual({ address: "10.78.0.254", port: 67 });
    expect(offer.frame.relayAddress).toBe(RELAY);
    expect([offer.frame.yourAddress >>> 8, offer.frame.hops]).toEqual([address("10.78.0.0") >>> 8, 0]);
    expect([...(offer.frame.options.get(OPTION.router) ?? [])]).toEqual([10, 78, 0, 254]);
    expect(offer.frame.serverAddress).toBe(OWN);
    const ack = one.ask(selecting(edk2Discover, offer.frame.yourAddress, { relayAddress: RELAY }), fromRelay);
    expect(type(ack)).toBe(MESSAGE.ack);
  });

  test("a client behind a relay renews through a router, without the relay", () => {
    const one = rack();
    const discover = discoverFrom("52:54:00:00:00:01");
    const held = one.ask(relayed(discover), fromRelay).frame.yourAddress;
    one.ask(selecting(discover, held, { relayAddress: RELAY }), fromRelay);
    const renewal = edit(discover, { [OPTION.messageType]: Uint8Array.of(MESSAGE.request) }, { clientAddress: held });
    const ack = one.ask(renewal, { address: ipv4Text(held), port: 68 });
    expect(type(ack)).toBe(MESSAGE.ack);
    expect(ack.frame.yourAddress).toBe(held);
  });

  test("a client of another network that reboots is refused through its relay, by broadcast there", () => {
    const elsewhere = { [OPTION.messageType]: Uint8Array.of(MESSAGE.request), [OPTION.requestedAddress]: bytes(address("10.77.0.50")) };
    const nak = rack().ask(relayed(discoverFrom("52:54:00:00:00:01"), elsewhere), fromRelay);
    expect(type(nak)).toBe(MESSAGE.nak);
    expect(nak.to).toEqual({ address: "10.78.0.254", port: 67 });
    expect(nak.frame.flags & 0x8000).toBe(0x8000);
  });

  test("relays of networks that are not configured get no answer", () => {
    const one = rack();
    expect(one.server.answer(relayed(edk2Discover, {}, { relayAddress: address("10.9.9.9") }), peer)).toBeUndefined();
    expect(one.refused()).toEqual({ "dhcp: relayed from a network not configured": 1 });
  });

  test("each network has its own addresses", () => {
    const one = rack();
    const offers = [one.ask(discoverFrom("52:54:00:00:00:01")), one.ask(relayed(discoverFrom("52:54:00:00:00:01")), fromRelay)];
    expect(offers.map(({ frame }) => frame.yourAddress >>> 8)).toEqual([address("10.77.0.0") >>> 8, address("10.78.0.0") >>> 8]);
  });
});

describe("RFC 3046", () => {
  test("option 82 comes back unchanged and last, whatever is in it", () => {
    const options = agent([1, Buffer.from("Ethernet1/7")], [2, Uint8Array.of(1, 2, 3)], [151, Uint8Array.of(9)]);
    const offer = rack().ask(relayed(edk2Discover, options), fromRelay);
    expect([...offer.frame.options.keys()].at(-1)).toBe(OPTION.relayAgent);
    expect(text(offer.frame.options.get(OPTION.relayAgent))).toBe(text(options[OPTION.relayAgent]));
  });

  test("one whose sub-options overrun it is no relay's", () => {
    const one = rack();
    expect(one.server.answer(relayed(edk2Discover, { [OPTION.relayAgent]: Uint8Array.of(1, 200, 7) }), fromRelay)).toBeUndefined();
    expect(one.refused()).toEqual({ "dhcp: relay-information": 1 });
  });
});

describe("RFC 3527, link selection", () => {
  const linked = agent([5, bytes(address("10.79.0.0"))]);

  test("a relay elsewhere names the network of the client, and gets the answer where it is", () => {
    const offer = rack().ask(relayed(edk2Discover, linked, { relayAddress: address("192.0.2.1") }), peer);
    expect(offer.frame.yourAddress >>> 8).toBe(address("10.79.0.0") >>> 8);
    expect(offer.to.address).toBe("192.0.2.1");
  });

  test("a relay on one of our networks may speak for another of them", () => {
    expect(rack().ask(relayed(edk2Discover, linked), fromRelay).frame.yourAddress >>> 8).toBe(address("10.79.0.0") >>> 8);
  });

  test("an address that clients are given is no relay's: it would vouch for its own option 82. The router's is one", () => {
    const router = "10.78.0.50";
    const pool = { from: "10.78.0.10", to: "10.78.0.99" };
    const reservations = [{ circuitId: "Ethernet1/7", machine: "gpu-17" }];
    const one = rack({ at: { subnets: [{ network: "10.78.0.0/24", router, pool, reservations }] } });
    const said = agent([1, Buffer.from("Ethernet1/7")], [19, new Uint8Array()]);
    const pretender = relayed(edk2Discover, said, { relayAddress: address("10.78.0.20") });
    expect(one.server.answer(pretender, { address: "10.78.0.20", port: 4000 })).toBeUndefined();
    expect(one.refused()).toEqual({ "dhcp: relay not configured": 1 });
    expect(one.ask(relayed(edk2Discover, said, { relayAddress: address(router) }), { address: router, port: 67 }).to.address).toBe(router);
  });

  test("a relay nobody named may not: it could be anybody, and the answer would go anywhere", () => {
    const one = rack();
    expect(one.server.answer(relayed(edk2Discover, linked, { relayAddress: address("192.0.2.2") }), peer)).toBeUndefined();
    expect(one.refused()).toEqual({ "dhcp: relay not configured": 1 });
  });
});

describe("RFC 5107, server identifier override", () => {
  const override = agent([11, bytes(RELAY)]);

  test("the client is told the relay's name for us, and may choose us by it", () => {
    const one = rack();
    const discover = discoverFrom("52:54:00:00:00:01");
    const offer = one.ask(relayed(discover, override), fromRelay);
    expect([...(offer.frame.options.get(OPTION.serverIdentifier) ?? [])]).toEqual([10, 78, 0, 254]);
    const request = {
      ...override,
      [OPTION.messageType]: Uint8Array.of(MESSAGE.request),
      [OPTION.requestedAddress]: bytes(offer.frame.yourAddress),
      [OPTION.serverIdentifier]: bytes(RELAY),
    };
    expect(type(one.ask(relayed(discover, request), fromRelay))).toBe(MESSAGE.ack);
    // without a relay's word it is another server's name
    expect(one.server.answer(edit(discover, request), peer)).toBeUndefined();
  });
});

test("RFC 5010: what was sent to everybody is nobody's in particular, and a client without a record hears nothing", () => {
  const one = rack();
  const renewing = (flags: number) =>
    relayed(
      discoverFrom("52:54:00:00:00:01", { [OPTION.messageType]: Uint8Array.of(MESSAGE.request), ...agent([10, Uint8Array.of(flags)]) }),
      {},
      { clientAddress: address("10.78.0.20") },
    );
  expect(one.server.answer(renewing(0), fromRelay)).toBeUndefined();
  expect(type(one.ask(renewing(0x80), fromRelay))).toBe(MESSAGE.ack);
});

test("RFC 8357: a relay behind a port of its own gets the answer there", () => {
  const offer = rack().ask(relayed(edk2Discover, agent([19, new Uint8Array()])), { address: "10.78.0.254", port: 40_067 });
  expect(offer.to).toEqual({ address: "10.78.0.254", port: 40_067 });
});
