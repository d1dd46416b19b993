import { expect, test } from "vitest";
import { systemClock } from "../core/clock.ts";
import type { BootRecord } from "./contract.ts";
import { createGrubFiles } from "./grub.ts";
import { createJournal } from "./journal.ts";
import { isInstaller } from "./records.ts";
import { loadScripts } from "./script.ts";

const nonce = "0123456789abcdefghijkl";
const record: BootRecord = {
  machine: "uefi-1",
  macs: ["52:54:00:77:00:02"],
  hostname: "uefi-1",
  intent: { boot: "installer", nonce, authorizedKey: "ssh-ed25519 AAAA", kernelArguments: ["console=ttyS0", "quiet"] },
};
const machines: Record<string, BootRecord> = { "10.77.0.11": record, "10.77.0.12": { ...record, intent: { boot: "disk" } } };
const journal = createJournal(systemClock);
const files = createGrubFiles({
  address: "10.77.0.1",
  http: "http://10.77.0.1:8080",
  assets: { pxeDir: "/pxe", kernel: "/kernel", initrd: "/initrd" },
  records: { byNonce: (said) => (said === nonce && isInstaller(record) ? record : undefined) },
  scripts: loadScripts(new URL("../../pxe/", import.meta.url)),
  machineAt: (address) => machines[address],
  journal,
});
const config = (client: string) => String(files("grub/grub.cfg", client)?.content);

test("the machine whose NIC has the address boots the installer by its nonce", () => {
  const text = config("10.77.0.11");
  const url = `http://10.77.0.1:8080/boot/${nonce}`;
  expect(text).toContain(
    `linux (tftp,10.77.0.1)/boot/${nonce}/kernel ironwright.url=${url} ironwright.mac=$net_default_mac console=ttyS0 quiet;`,
  );
  expect(text).toContain(`initrd (tftp,10.77.0.1)/boot/${nonce}/initrd;`);
  expect(journal.timeline("uefi-1").map(({ stage }) => stage)).toEqual(["script"]);
});

test.each(["10.77.0.12", "10.77.0.99"])("%s, which has nothing to boot, learns no nonce and goes on", (address) => {
  const text = config(address);
  expect(text).not.toContain(nonce);
  expect(text.trimEnd()).toMatch(/exit$/);
});

test("kernel and initrd come by the current nonce, and by no other name", () => {
  expect(files(`boot/${nonce}/kernel`, "10.77.0.99")).toEqual({ name: "kernel", content: "/kernel" });
  expect(files(`boot/${nonce}/initrd`, "10.77.0.99")).toEqual({ name: "initrd", content: "/initrd" });
  for (const name of [`boot/${nonce.replace("0", "1")}/kernel`, `boot/${nonce}/authorized_keys`, `boot/${nonce}/../kernel`, "kernel"])
    expect(files(name, "10.77.0.11")).toBeUndefined();
});
