import { expect, test } from "vitest";
import type { TimelineAnswer } from "../api/index.ts";
import { leaseTable, refusalTable } from "./boot-lists.ts";
import { timelineText } from "./timeline.ts";

const now = new Date("2026-03-01T12:10:00Z");
const attempt = (number: number, minutesAgo: number) => ({
  machine: "gpu-07",
  number,
  client: "UEFI PXE",
  startedAt: new Date(now.getTime() - minutesAgo * 60_000).toISOString(),
  lastAt: now.toISOString(),
});

const answer: TimelineAnswer = {
  machine: "gpu-07",
  seen: "fetched snponly.efi 60 s ago and never came back: Secure Boot refuses it",
  model: "Dell XE9680",
  attempts: [
    { ...attempt(6, 300), end: "installed", steps: [] },
    { ...attempt(7, 200), end: "disk", steps: [] },
    {
      ...attempt(8, 100),
      end: "stopped",
      why: "got an offer 40 s ago and never asked for it: another DHCP server 10.0.0.5 answered",
      steps: [],
    },
    {
      ...attempt(9, 2),
      steps: [
        { step: "address", at: new Date(now.getTime() - 119_000).toISOString(), seconds: 1.04 },
        { step: "program", at: new Date(now.getTime() - 77_000).toISOString(), seconds: 42 },
      ],
    },
  ],
  history: [
    { step: "address", count: 12, median: 1, p90: 3.2 },
    { step: "program", count: 12, median: 0.4, p90: 0.6 },
  ],
  events: [{ at: now.toISOString(), stage: "dhcp", detail: "DHCP offer of 10.77.0.10 to UEFI PXE, snponly.efi", times: 3 }],
};

test("a timeline names the slowest step against its model, and says why a boot stopped", () => {
  expect(timelineText(answer, now, false)).toBe(`Machine:   gpu-07
Model:     Dell XE9680, 12 boots on record
Last seen: fetched snponly.efi 60 s ago and never came back: Secure Boot refuses it

Boot 9: under way, begun 2m0s ago as UEFI PXE, 43.0s so far
  STEP      TOOK    MEDIAN   P90
  address   1.0s    1.0s     3.2s
  program   42.0s   0.4s     0.6s   <- slowest: 41.6s more than usual

Boot 8: stopped, begun 100m ago as UEFI PXE
  why: got an offer 40 s ago and never asked for it: another DHCP server 10.0.0.5 answered

Boot 7: booted its own disk, begun 3h ago as UEFI PXE

1 earlier: -o wide shows them.`);
});

test("wide shows every boot and every event; without history the longest step is marked", () => {
  const text = timelineText({ ...answer, history: [] }, now, true);
  expect(text).toContain("Boot 6: installed");
  expect(text).toContain("dhcp    DHCP offer of 10.77.0.10 to UEFI PXE, snponly.efi (3 times)");
  expect(text).toMatch(/program {3}42\.0s {3}- {8}- {5}<- longest/);
  expect(timelineText({ machine: "new", seen: "never", attempts: [], history: [], events: [] }, now, false)).toContain(
    "No boot of it was seen.",
  );
});

test("leases are sorted by number, not by text", () => {
  const lease = (last: number, expires: string) => ({
    interface: "prov0",
    address: `10.77.0.${last}`,
    mac: `52:54:00:00:00:${last.toString(16).padStart(2, "0")}`,
    client: `id:01525400${last}`,
    state: "bound" as const,
    expires,
  });
  const items = [
    lease(110, "2026-03-01T13:10:00Z"),
    { ...lease(12, "2026-03-01T12:00:00Z"), machine: "gpu-07", state: "expired" as const },
  ];
  expect(leaseTable({ items }, now, false)).toBe(`ADDRESS       MAC                 MACHINE   STATE     EXPIRES
10.77.0.12    52:54:00:00:00:0c   gpu-07    expired   10m ago
10.77.0.110   52:54:00:00:00:6e   -         bound     in 60m`);
  expect(leaseTable({ items }, now, true)).toContain("prov0       id:0152540012");
  expect(leaseTable({ items: [] }, now, false)).toBe("There are no leases.");
});

test("refusals come with the most frequent first, and what is known of the last", () => {
  const items = [
    { reason: "dhcp: op", count: 1, lastAt: "2026-03-01T12:09:30Z", last: { from: "10.77.0.9" } },
    {
      reason: "boot: unknown machine",
      count: 7,
      lastAt: "2026-03-01T12:00:00Z",
      last: { hardware: "52:54:00:00:00:02", client: "UEFI PXE" },
    },
  ];
  expect(refusalTable({ items }, now, true)).toBe(`REASON                  COUNT   LAST   THE LAST ONE
boot: unknown machine   7       10m    hardware=52:54:00:00:00:02 client=UEFI PXE
dhcp: op                1       30s    from=10.77.0.9`);
});
