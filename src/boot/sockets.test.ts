import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { checkBound, socketArguments } from "./sockets.ts";

const prov0 = { name: "prov0", mode: "auto-proxy" } as const;
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "ironwright-sockets-"));
});
afterEach(() => rmSync(directory, { recursive: true }));

/** Sockets handed over by these names; who is asked says that they are bound to these interfaces. */
function check(names: readonly string[], script: string, interfaces: Parameters<typeof checkBound>[0] = [prov0]): void {
  const native = join(directory, "native");
  writeFileSync(native, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  const sockets = new Map(names.map((name) => [name, 0]));
  checkBound(interfaces, sockets, native);
}

test("sockets that are bound to their interface are taken, the others' binding is not asked for", () => {
  const said = '[ "$*" = "bound 3 4" ] && echo prov0 && echo prov0';
  expect(() => check(["tftp@prov0", "dhcp@prov0", "pxe@prov0", "dhcp@off0"], said, [prov0, { name: "off0", mode: "off" }])).not.toThrow();
  expect(() => check(["tftp@prov0", "http@prov0"], "exit 1")).not.toThrow();
});

test.each([
  ["to nothing", "echo prov0; echo", /listen on pxe@prov0: it is bound to no interface .* BindToDevice=prov0 in its \.socket unit/],
  ["to another interface", "echo eth1; echo prov0", /listen on dhcp@prov0: it is bound to eth1: say BindToDevice=prov0/],
  [
    "and nobody can tell to what",
    "echo descriptor 3: not a socket >&2; exit 1",
    /dhcp@prov0: .* cannot be told: descriptor 3: not a socket/,
  ],
])("sockets for broadcasts that are bound %s are refused", (_, script, says) => {
  expect(() => check(["dhcp@prov0", "pxe@prov0"], script)).toThrow(says);
});

test("there is a .socket unit for each socket that the native program would open, bound to its interface", () => {
  const at = { ...prov0, address: "10.77.0.1/24", routerAdvertisements: false };
  const wanted = socketArguments({ interfaces: [at], httpPort: 8080, https: { port: 8443, httpBoot: false } });
  const opened = wanted.filter((_, index) => index % 2 === 1).map((text) => /^(\w+)@prov0=.*:(\d+)@prov0$/.exec(text) ?? []);
  expect(opened.length).toBe(5);
  for (const [, service = "", port] of opened) {
    const unit = readFileSync(new URL(`../../deploy/systemd/sockets/ironwright-${service}-prov0.socket`, import.meta.url), "utf8");
    const listen = service.startsWith("http") ? "ListenStream" : "ListenDatagram";
    for (const line of [`${listen}=0.0.0.0:${port}`, "BindToDevice=prov0", `FileDescriptorName=${service}@prov0`])
      expect(unit.split("\n")).toContain(line);
  }
});
