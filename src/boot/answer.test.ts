import { expect, test } from "vitest";
import { edk2Discover, edk2HttpDiscover, ipxeDiscover } from "../wire/golden.fixture.ts";
import { OPTION, parseFrame } from "../wire/index.ts";
import { type BootAnswer, type BootPolicy, bootAnswer, type Purpose } from "./answer.ts";
import { type BootFacts, bootFacts, clientName } from "./facts.ts";

const server = "http://10.77.0.1:8080";
const attempt: Purpose = { nonce: "n0nce" };
const disk: Purpose = { nonce: null, because: "disk" };
const stranger: Purpose = { nonce: null, because: "unknown" };
const policy: BootPolicy = { server, present: new Set(["undionly.kpxe", "snponly.efi"]), secureBoot: "off", unknown: "tell" };
const local = expect.objectContaining({ boot: "local" });
const nothing = expect.objectContaining({ boot: "nothing" });

const rows: readonly [string, BootFacts, Purpose, BootAnswer][] = [
  ["BIOS ROM", { kind: "pxe", arch: "bios" }, attempt, { boot: "tftp", file: "undionly.kpxe" }],
  ["UEFI PXE", { kind: "pxe", arch: "x64-uefi" }, attempt, { boot: "tftp", file: "snponly.efi" }],
  ["UEFI HTTP Boot", { kind: "http", arch: "x64-uefi" }, attempt, { boot: "http", url: `${server}/boot/n0nce/snponly.efi` }],
  ["iPXE", { kind: "ipxe", arch: "bios" }, attempt, { boot: "script", url: `${server}/boot/n0nce/script.ipxe` }],
  ["iPXE of an odd architecture", { kind: "ipxe", arch: "unknown" }, attempt, { boot: "script", url: `${server}/boot/n0nce/script.ipxe` }],
  ["iPXE of a machine at work", { kind: "ipxe", arch: "bios" }, disk, { boot: "script", url: `${server}/exit/disk.ipxe` }],
  ["iPXE of a stranger", { kind: "ipxe", arch: "bios" }, stranger, { boot: "script", url: `${server}/exit/unknown.ipxe` }],
  ["UEFI PXE of a machine at work", { kind: "pxe", arch: "x64-uefi" }, disk, local],
  ["UEFI HTTP Boot of a machine at work", { kind: "http", arch: "x64-uefi" }, disk, local],
  ["UEFI PXE of a stranger", { kind: "pxe", arch: "x64-uefi" }, stranger, nothing],
  ["arm64 without a program", { kind: "pxe", arch: "arm64-uefi" }, attempt, nothing],
  ["an operating system", { kind: "plain", arch: "unknown" }, attempt, nothing],
];

test.each(rows)("%s", (_, facts, purpose, answer) => {
  expect(bootAnswer(facts, purpose, policy)).toEqual(answer);
});

const required: BootPolicy = { ...policy, secureBoot: "required", present: new Set([...policy.present, "shimx64.efi", "grubx64.efi"]) };
const because = (text: RegExp) => ({ boot: "nothing", because: expect.stringMatching(text) });
const secure: readonly [string, BootFacts, Purpose, BootPolicy, unknown][] = [
  ["UEFI PXE gets shim", { kind: "pxe", arch: "x64-uefi" }, attempt, required, { boot: "tftp", file: "shimx64.efi" }],
  [
    "UEFI HTTP Boot gets nothing: the signed GRUB has no HTTP",
    { kind: "http", arch: "x64-uefi" },
    attempt,
    required,
    because(/let the firmware try PXE/),
  ],
  ["arm64 without shim gets nothing", { kind: "pxe", arch: "arm64-uefi" }, attempt, required, because(/shimaa64.efi is not installed/)],
  [
    "shim without GRUB gets nothing",
    { kind: "pxe", arch: "x64-uefi" },
    attempt,
    { ...required, present: new Set(["shimx64.efi", "snponly.efi"]) },
    because(/grubx64.efi is not installed/),
  ],
  [
    "a kernel that the shim would not run is not booted",
    { kind: "pxe", arch: "x64-uefi" },
    attempt,
    { ...required, unsigned: "it is not signed" },
    because(/installer's kernel is refused: it is not signed/),
  ],
  ["BIOS gets nothing", { kind: "pxe", arch: "bios" }, attempt, required, because(/BIOS has none/)],
  ["iPXE gets nothing", { kind: "ipxe", arch: "x64-uefi" }, attempt, required, because(/iPXE is not signed/)],
  [
    "iPXE of a machine at work is sent to its disk",
    { kind: "ipxe", arch: "bios" },
    disk,
    required,
    expect.objectContaining({ boot: "script" }),
  ],
  ["a stranger gets nothing", { kind: "pxe", arch: "x64-uefi" }, stranger, { ...required, unknown: "boot" }, because(/no Machine/)],
];

test.each(secure)("where Secure Boot is required, %s", (_, facts, purpose, rules, answer) => {
  expect(bootAnswer(facts, purpose, rules)).toEqual(answer);
});

test("where strangers are booted, they get iPXE to be told so, by TFTP alone", () => {
  const open: BootPolicy = { ...policy, unknown: "boot" };
  expect(bootAnswer({ kind: "pxe", arch: "x64-uefi" }, stranger, open)).toEqual({ boot: "tftp", file: "snponly.efi" });
  expect(bootAnswer({ kind: "http", arch: "x64-uefi" }, stranger, open)).toEqual(nothing);
});

const arm: BootPolicy = { ...policy, present: new Set(["snponly-arm64.efi", "shimaa64.efi", "grubaa64.efi"]) };
test.each<[string, BootFacts["kind"], Partial<BootPolicy>, BootAnswer]>([
  ["PXE", "pxe", {}, { boot: "tftp", file: "snponly-arm64.efi" }],
  ["HTTP Boot", "http", {}, { boot: "http", url: `${server}/boot/n0nce/snponly-arm64.efi` }],
  ["iPXE", "ipxe", {}, { boot: "script", url: `${server}/boot/n0nce/script.ipxe` }],
  ["PXE with Secure Boot", "pxe", { secureBoot: "required" }, { boot: "tftp", file: "shimaa64.efi" }],
])("arm64 by %s is given its own", (_, kind, rules, answer) => {
  expect(bootAnswer({ kind, arch: "arm64-uefi" }, attempt, { ...arm, ...rules })).toEqual(answer);
});

test("arm64 with Secure Boot and without the GRUB that its shim loads gets nothing", () => {
  const rules: BootPolicy = { ...arm, secureBoot: "required", present: new Set(["shimaa64.efi", "grubx64.efi"]) };
  expect(bootAnswer({ kind: "pxe", arch: "arm64-uefi" }, attempt, rules)).toEqual(because(/grubaa64.efi is not installed/));
});

test("a missing program is named", () => {
  expect(bootAnswer({ kind: "pxe", arch: "arm64-uefi" }, attempt, policy)).toEqual({
    boot: "nothing",
    because: "the network boot program snponly-arm64.efi is not installed",
  });
});

test.each([
  [edk2Discover, "UEFI PXE"],
  [edk2HttpDiscover, "UEFI HTTP Boot"],
  [ipxeDiscover, "iPXE (BIOS)"],
])("golden packets are recognised", (datagram, name) => {
  const frame = parseFrame(datagram);
  if (typeof frame === "string") throw new Error(frame);
  expect(clientName(bootFacts(frame))).toBe(name);
});

test.each([
  [0, "bios"],
  [7, "x64-uefi"],
  [9, "x64-uefi"],
  [16, "x64-uefi"],
  [11, "arm64-uefi"],
  [19, "arm64-uefi"],
  [6, "unknown"],
])("architecture %i is %s", (code, arch) => {
  const frame = parseFrame(edk2Discover);
  if (typeof frame === "string") throw new Error(frame);
  expect(bootFacts({ ...frame, options: new Map([...frame.options, [OPTION.architecture, Uint8Array.of(0, code)]]) }).arch).toBe(arch);
});

test.each([
  ["iPXE", "ipxe"],
  ["gPXE", "ipxe"],
  // RFC 3004 §4: each with its length in front
  ["\x04iPXE", "ipxe"],
  ["\x04gPXE", "ipxe"],
  ["\x04iPXE\x04rack", "ipxe"],
  ["", "pxe"],
  ["PXE", "pxe"],
  ["my iPXE", "pxe"],
  ["\x07my iPXE", "pxe"],
])("a ROM without option 175 whose user class is %j is %s", (userClass, kind) => {
  const frame = parseFrame(ipxeDiscover);
  if (typeof frame === "string") throw new Error(frame);
  const options = new Map([...frame.options, [OPTION.userClass, Buffer.from(userClass, "latin1")]]);
  options.delete(OPTION.ipxe);
  expect(bootFacts({ ...frame, options }).kind).toBe(kind);
});
