import { describe, expect, test } from "vitest";
import { findingLines, judge } from "./judge.ts";
import { KINDS, type Kind, type Observation } from "./observed.ts";

const OURS = "10.0.0.1";
const setting = { servers: [OURS], isQuietProxy: false };

function offers(server: string, over: Readonly<Record<string, string>> = {}, kinds: readonly Kind[] = KINDS): Observation[] {
  const common = { from: server, server, address: "10.0.0.50", nextServer: server, file: "", vendorClass: "", seconds: 0.01, ...over };
  return kinds.map((kind) => ({ saw: "offer", kind, ...common }));
}
const tftp = (blockSize: number, got: "file" | "refusal" | "nothing"): Observation => ({
  saw: "tftp",
  server: OURS,
  file: "snponly.efi",
  blockSize,
  got,
  detail: got === "file" ? "173792 bytes" : "Timed out",
});
const wrongs = (seen: readonly Observation[], over = {}) =>
  judge(seen, { ...setting, ...over })
    .filter(({ wrong }) => wrong !== undefined)
    .map(({ what, wrong }) => `${what}: ${wrong}`);

const rows: readonly (readonly [string, readonly Observation[], readonly RegExp[]])[] = [
  [
    "all is well",
    [...offers(OURS), tftp(1468, "file"), { saw: "http", url: `http://${OURS}:8080/exit/unknown.ipxe`, got: "answer", detail: "" }],
    [],
  ],
  ["nobody", [], [/^DHCP: nobody answers DHCP here/]],
  [
    "nobody, but through a relay",
    [{ saw: "relayed", server: OURS, relay: "10.1.0.7", answered: true }],
    [/^relay: nobody .*giaddr 10\.1\.0\.7/],
  ],
  ["nobody, and not through a relay", [{ saw: "relayed", server: OURS, relay: "10.1.0.7", answered: false }], [/^DHCP: .* either$/]],
  ["another DHCP server", [...offers(OURS), ...offers("10.0.0.5")], [/^another DHCP server: 10\.0\.0\.5 answers here too/]],
  [
    "another that also boots",
    [...offers(OURS), ...offers("10.0.0.5", { file: "pxelinux.0" })],
    [/^another DHCP server: 10\.0\.0\.5/, /^another boot server: 10\.0\.0\.5 tells machines to boot pxelinux\.0$/],
  ],
  [
    "the site's own beside our proxy",
    [...offers("10.0.0.5"), ...offers(OURS, { address: "0.0.0.0", vendorClass: "PXEClient" }, ["uefi"])],
    [],
  ],
  [
    "our proxy without anybody's addresses",
    offers(OURS, { address: "0.0.0.0", vendorClass: "PXEClient" }, ["uefi", "bios", "http", "ipxe"]),
    [/^a plain DHCP client: got no offer: the boot plane is a ProxyDHCP here/],
  ],
  ["one kind alone not answered", offers(OURS, {}, ["plain", "bios", "uefi", "ipxe"]), [/^UEFI HTTP Boot: got no offer, while others did/]],
  ["a lease refused", [...offers(OURS), { saw: "lease", server: OURS, address: "10.0.0.50", got: "nak" }], [/^lease: .* then refused it$/]],
  [
    "a lease not answered",
    [...offers(OURS), { saw: "lease", server: OURS, address: "10.0.0.50", got: "nothing" }],
    [/^lease: .* does not answer/],
  ],
  ["4011 filtered", [...offers(OURS), { saw: "proxy", server: OURS, answered: false }], [/^ProxyDHCP: .* UDP 4011/]],
  ["an MTU too small", [...offers(OURS), tftp(1468, "nothing"), tftp(512, "file")], [/^MTU: .* lost in blocks of 1468/]],
  ["TFTP filtered", [...offers(OURS), tftp(1468, "nothing"), tftp(512, "nothing")], [/^TFTP: .* Timed out$/]],
  ["no boot programs", [...offers(OURS), tftp(1468, "refusal")], [/^TFTP: .* has no boot program/]],
  ["HTTP filtered", [...offers(OURS), { saw: "http", url: `http://${OURS}:8080/x`, got: "nothing", detail: "timeout" }], [/^HTTP: /]],
  ["a packet that ended the probe", [...offers(OURS), { saw: "trouble", detail: "RangeError" }], [/^the probe: RangeError$/]],
  ["others, and not ours", offers("10.0.0.5"), [/^boot plane: 10\.0\.0\.1 answers none of them, while 10\.0\.0\.5 does$/]],
];

describe("what clients saw of a network", () => {
  test.each(rows)("%s", (_, seen, lines) => {
    const found = wrongs(seen);
    expect(found).toHaveLength(lines.length);
    for (const [at, line] of lines.entries()) expect(found[at]).toMatch(line);
  });
});

test("in mode proxy silence to an unknown machine is right", () => {
  expect(wrongs(offers("10.0.0.5"), { isQuietProxy: true })).toEqual([]);
});

test("without a known address the boot plane is the one whose script is ours", () => {
  const seen = [...offers(OURS, { file: `http://${OURS}:8080/exit/unknown.ipxe` }, ["ipxe"]), ...offers(OURS), ...offers("10.0.0.5")];
  expect(wrongs(seen, { servers: [] })).toEqual([expect.stringMatching(/^another DHCP server: 10\.0\.0\.5/)]);
});

test("every fault comes with what mends it", () => {
  for (const [, seen] of rows)
    for (const one of judge(seen, setting)) expect(one.wrong === undefined || (one.mend ?? "") !== "").toBe(true);
  expect(findingLines([{ what: "MTU", wrong: "too small", mend: "make it 1500" }, { what: "HTTP" }])).toEqual([
    "✗ MTU: too small\n    make it 1500",
    "✓ HTTP",
  ]);
});
