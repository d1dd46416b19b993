import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";
import { lackingRights } from "./rights.ts";

const status = (effective: string) => `Name:\tnode\nCapInh:\tffffffffffffffff\nCapEff:\t${effective}\nCapBnd:\tffffffffffffffff\n`;

test("what is lacking is named, by the effective set alone", () => {
  expect(lackingRights(status("000001ffffffffff"))).toBeUndefined();
  expect(lackingRights(status("0000000000201000"))).toBeUndefined();
  expect(lackingRights(status("00000000a80425fb"))).toBe("CAP_NET_ADMIN and CAP_SYS_ADMIN");
  expect(lackingRights(status("0000000000001000"))).toBe("CAP_SYS_ADMIN");
  expect(lackingRights("Name:\tnode\n")).toBe("CAP_NET_ADMIN and CAP_SYS_ADMIN");
});

test("`rack up` without rights is refused as such, and makes nothing", () => {
  const dir = mkdtempSync(join(tmpdir(), "iw-"));
  try {
    const program = `import { rackUp, defaultRack } from ${JSON.stringify(fileURLToPath(new URL("./index.ts", import.meta.url)))};
      const rack = defaultRack({ directory: ${JSON.stringify(join(dir, "rack"))}, name: "norights" });
      await rackUp(rack, { ovmf: { code: "", vars: "" } }).catch((error) => console.log(error.code, error.message));`;
    const node = [process.execPath, "--input-type=module", "-e", program];
    // still root, so that it may read this checkout wherever that is
    const drop = ["--bounding-set=-all", "--inh-caps=-all"];
    const { stdout, stderr } = spawnSync("setpriv", [...drop, ...node], { encoding: "utf8" });
    expect([stdout, stderr]).toEqual([expect.stringMatching(/^IRW_RACK_RIGHTS .*lacks CAP_NET_ADMIN and CAP_SYS_ADMIN$/m), ""]);
    expect(readdirSync(dir)).toEqual([]);
    expect(existsSync("/run/netns/iw-norights")).toBe(false);
  } finally {
    rmSync(dir, { recursive: true });
  }
});
