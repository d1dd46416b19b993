import { expect, test } from "vitest";
import type { BootEvent, Sign, Stage } from "./contract.ts";
import { whyNot } from "./why.ts";

const now = new Date("2026-03-01T12:00:00Z");
const on = new Date("2026-03-01T11:50:00Z");

/** An event some seconds ago. */
function seen(secondsAgo: number, stage: Stage, sign?: Sign, detail = "seen"): BootEvent {
  return { at: new Date(now.getTime() - secondsAgo * 1000).toISOString(), stage, detail, ...(sign ? { sign } : {}) };
}

const uefi = { client: "pxe", name: "UEFI PXE" } as const;
const ipxe = { client: "ipxe", name: "iPXE (UEFI)" } as const;
const offered = (secondsAgo: number, more: Partial<Sign> = {}) =>
  seen(secondsAgo, "dhcp", { what: "offered", ...uefi, file: "snponly.efi", ...more });
const leased = (secondsAgo: number, more: Partial<Sign> = {}) =>
  seen(secondsAgo, "dhcp", { what: "leased", ...uefi, file: "snponly.efi", ...more });
const program = (secondsAgo: number) => seen(secondsAgo, "tftp", { what: "fetched", file: "snponly.efi" });

const rows: readonly (readonly [string, readonly BootEvent[], RegExp])[] = [
  ["nothing at all", [], /^no DHCP packet seen since power-on: cabling, VLAN or boot order$/],
  ["only what was before power-on", [leased(3000)], /^no DHCP packet seen since power-on/],
  ["an offer not taken", [offered(40)], /^got an offer 40 s ago and never asked for it: the offer does not reach it/],
  [
    "an offer not taken, while another server's was",
    [offered(41), seen(40, "dhcp", { what: "elsewhere", ...uefi, server: "10.0.0.5" })],
    /^got an offer 40 s ago and never asked for it: another DHCP server 10\.0\.0\.5 answered$/,
  ],
  [
    "the same, and then another offer",
    [seen(90, "dhcp", { what: "elsewhere", ...uefi, server: "10.0.0.5" }), offered(40)],
    /^got an offer 40 s ago and never asked for it: another DHCP server 10\.0\.0\.5 answered$/,
  ],
  ["a NAK", [seen(30, "dhcp", { what: "denied", ...uefi })], /not its own 30 s ago and was told so/],
  ["a DECLINE", [seen(30, "dhcp", { what: "declined", ...uefi })], /somebody else on the network uses it/],
  [
    "no program for it",
    [leased(5, { client: "pxe", name: "arm64 UEFI PXE", because: "the network boot program snponly-arm64.efi is not installed" })],
    /^asked as arm64 UEFI PXE 5 s ago and got nothing to boot: the network boot program snponly-arm64\.efi is not installed$/,
  ],
  ["its own disk", [offered(5, { because: "disk" })], /was sent to its own disk, as it should be$/],
  ["an address and no TFTP", [offered(21), leased(20)], /^got its address 20 s ago and never fetched snponly\.efi: TFTP \(UDP 69 /],
  [
    "an address and no HTTP",
    [leased(20, { client: "http", name: "UEFI HTTP Boot", file: "snponly.efi" })],
    /never fetched snponly\.efi: HTTP to the boot plane is blocked/,
  ],
  ["a size and no file", [leased(20), seen(19, "tftp", { what: "sized", file: "snponly.efi" })], /asked for the size of snponly\.efi/],
  [
    "a transfer that broke off",
    [leased(20), seen(9, "tftp", { what: "broken-off", file: "snponly.efi" })],
    /^its fetch of snponly\.efi broke off 9 s ago: large packets are lost \(MTU\)/,
  ],
  [
    "GRUB beside a DHCP server that names itself",
    [offered(70, { file: "shimx64.efi" }), seen(60, "tftp", { what: "fetched", file: "grubx64.efi" })],
    /^fetched grubx64\.efi 60 s ago and never asked for its configuration here: a DHCP server that stays must name the boot plane as its next-server/,
  ],
  [
    "a program that never came back",
    [leased(70), program(60)],
    /^fetched snponly\.efi 60 s ago and never came back: Secure Boot refuses it, iPXE has no driver/,
  ],
  [
    "a program fetched over and over",
    [leased(300), program(290), program(200), program(100)],
    /never came back: .*; it fetched its boot program 3 times: it boots over and over$/,
  ],
  ["iPXE without its script", [program(60), leased(50, ipxe)], /^iPXE got its address 50 s ago and never fetched its script: HTTP /],
  ["a script and no kernel", [leased(50, ipxe), seen(49, "script")], /^fetched its script 49 s ago and never asked for the kernel/],
  [
    "a script that could not be had",
    [seen(4, "script", { what: "broken-off", because: "the installer's kernel is missing on the boot server" })],
    /^asked for its script 4 s ago: the installer's kernel is missing on the boot server$/,
  ],
  [
    "the script of an attempt that is over",
    [seen(4, "script", { what: "stale" })],
    /^asked for the script of an attempt that is over 4 s ago/,
  ],
  ["a kernel and no initrd", [seen(49, "script"), seen(40, "kernel", { what: "fetched" })], /never asked for the initrd/],
  ["a kernel broken off", [seen(49, "script"), seen(40, "kernel", { what: "broken-off" })], /kernel broke off 40 s ago/],
  [
    "a kernel that never said hello",
    [seen(180, "kernel"), seen(170, "initrd", { what: "fetched" })],
    /^started the installer's kernel 3 min ago and never said hello: the installer has no driver for its NIC/,
  ],
  [
    "the installer's own DHCP does not hide that",
    [seen(170, "initrd"), seen(160, "dhcp", { what: "leased", client: "plain", name: "a DHCP client" })],
    /^started the installer's kernel/,
  ],
  ["a key and no hello", [seen(170, "initrd"), seen(100, "key")], /^its installer came up 100 s ago and never said hello/],
  ["a hello", [seen(3, "hello", undefined, "installer said hello from 10.0.0.7")], /^installer said hello from 10\.0\.0\.7 3 s ago$/],
  [
    "an installed system that renews",
    [seen(3, "dhcp", { what: "leased", client: "plain" }, "DHCP lease of 10.0.0.7")],
    /^DHCP lease of 10/,
  ],
];

test.each(rows)("%s", (_, events, line) => {
  expect(whyNot({ events, now, since: on })).toMatch(line);
});

test("without a time of power-on there is nothing to hold against the machine", () => {
  expect(whyNot({ events: [], now })).toBe("never");
  expect(whyNot({ events: [leased(3000)], now })).toMatch(/^got its address 50 min ago/);
});
