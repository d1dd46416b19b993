import fc from "fast-check";
import { expect, test } from "vitest";
import { createMetrics } from "../observe/index.ts";
import { encodeFrame, type Frame, MESSAGE, OPTION } from "../wire/index.ts";
import { createMemoryLeases } from "./leases.ts";
import { assetOf, createDhcpMeter, messageType, meterAddresses, meterCommits } from "./meters.ts";

const frame = (type: number): Frame => ({
  op: 1,
  hardwareType: 1,
  hardwareAddress: Uint8Array.of(2, 0, 0, 0, 0, 1),
  hops: 0,
  transactionId: 7,
  seconds: 0,
  flags: 0,
  clientAddress: 0,
  yourAddress: 0,
  serverAddress: 0,
  relayAddress: 0,
  serverName: new Uint8Array(),
  file: new Uint8Array(),
  options: new Map([[OPTION.messageType, Uint8Array.of(type)]]),
});

test("messages are counted by type, answers by how long they took", async () => {
  const metrics = createMetrics();
  let now = 1000;
  const meter = createDhcpMeter(metrics, "prov0", () => now);
  const at = meter.received(encodeFrame(frame(MESSAGE.discover)).bytes);
  now += 3;
  meter.sent(encodeFrame(frame(MESSAGE.offer)).bytes, at);
  meter.received(new Uint8Array(3));
  const text = await metrics.text();
  expect(text).toContain('ironwright_dhcp_received_total{interface="prov0",type="discover"} 1');
  expect(text).toContain('ironwright_dhcp_sent_total{interface="prov0",type="offer"} 1');
  expect(text).toContain('ironwright_dhcp_answer_seconds_bucket{le="0.0025",interface="prov0"} 0');
  expect(text).toContain('ironwright_dhcp_answer_seconds_bucket{le="0.005",interface="prov0"} 1');
});

test("option 53 is found wherever it stands, and whatever bytes come end", () => {
  const late = new Uint8Array([...new Uint8Array(240), 0, 12, 2, 65, 66, 53, 1, 3, 255]);
  expect(messageType(late)).toBe(MESSAGE.request);
  expect(messageType(Uint8Array.of(...new Uint8Array(240), 255, 53, 1, 3))).toBe(0);
  fc.assert(fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => messageType(bytes) >= 0 && messageType(bytes) <= 255));
});

test("an asset is named by its kind, never by what the client wrote", () => {
  const named = (url: string) => assetOf(url);
  expect(
    ["script.ipxe", "kernel", "initrd", "authorized_keys", "hello", "snponly.efi", "files/image"].map((one) => named(`/boot/n0nce/${one}`)),
  ).toEqual(["script", "kernel", "initrd", "key", "hello", "program", "file"]);
  expect(["/exit/disk.ipxe", "/", "/boot/n0nce", "/boot/n/../../etc", "", "/x?y"].map(named)).toEqual([
    "exit",
    "none",
    "none",
    "none",
    "none",
    "none",
  ]);
});

test("groups of leases are measured, and how full the pools are is read at each scrape", async () => {
  const metrics = createMetrics();
  const listeners: ((error: Error | undefined) => void)[] = [];
  let synced = 5;
  const store = {
    ...createMemoryLeases(),
    get synced() {
      return synced;
    },
    onSync: (listener: (error: Error | undefined) => void) => {
      listeners.push(listener);
      return () => {};
    },
  };
  meterCommits(metrics, store);
  synced = 12;
  for (const tell of listeners) tell(undefined);
  const at = {
    name: "prov0",
    address: "10.0.0.1/24",
    mode: "reservation",
    pool: { from: "10.0.0.10", to: "10.0.0.19" },
    routerAdvertisements: false,
  } as const;
  const end = meterAddresses(metrics, at, () => [{ leases: 4, offers: 1, free: 5 }]);
  const text = await metrics.text();
  expect(text).toContain("ironwright_dhcp_lease_commit_size_sum 7");
  expect(text).toContain('ironwright_dhcp_pool_addresses{interface="prov0"} 10');
  expect(text).toContain('ironwright_dhcp_pool_free_addresses{interface="prov0"} 5');
  expect(text).toContain('ironwright_dhcp_leases{interface="prov0",state="leased"} 4');
  end();
});
