import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { defaultRack, type Rack } from "./config.ts";
import { rackPaths } from "./paths.ts";
import { readRecord, strangersIn, writeRecord } from "./record.ts";
import { rackUp } from "./up.ts";

let rack: Rack;
const record = { owner: "o", madeMount: false, networkMade: false, description: { password: "p" } };

beforeEach(() => {
  rack = defaultRack({ name: "record", directory: mkdtempSync(join(tmpdir(), "iw-")) });
});
afterEach(() => rmSync(rack.directory, { recursive: true }));

test("a directory with somebody's files is refused, since down would remove them", async () => {
  writeFileSync(join(rack.directory, "thesis.tex"), "");
  await expect(rackUp(rack, { ovmf: { code: "/none", vars: "/none" } })).rejects.toMatchObject({
    code: "IRW_RACK_CONFLICT",
    message: expect.stringContaining("thesis.tex"),
  });
  expect(readRecord(rack)).toBeUndefined();
});

test("an empty one is taken, a rack's own is taken again, also when it was kept", () => {
  expect(strangersIn(rack)).toBeUndefined();
  expect(strangersIn({ directory: join(rack.directory, "none") })).toBeUndefined();
  writeRecord(rack, record);
  writeFileSync(join(rack.directory, "chassis.log"), "");
  expect(strangersIn(rack)).toBeUndefined();
  rmSync(rackPaths(rack.directory).record);
  expect(strangersIn(rack)).toBeUndefined();
});

test("what holds passwords is its owner's alone", () => {
  writeRecord(rack, record);
  expect(statSync(rackPaths(rack.directory).record).mode & 0o777).toBe(0o600);
  expect(readRecord(rack)).toEqual(record);
});
