/** `npm run soak -- NAME [options]`: what takes too long for `npm test`. */
import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const soaks: Readonly<Record<string, { readonly file: string; readonly says: string }>> = {
  boot: {
    file: "boot.ts",
    says: "a hundred million fuzzed datagrams, then the whole boot matrix: [--inputs N] [--seed N] [--workers N] [--no-matrix]",
  },
  "boot-matrix": {
    file: "boot-matrix.ts",
    says: "the boot matrix with the rows that take too long for `npm test`, every firmware to the installer's hello: [--rows PATTERN]",
  },
  certificates: {
    file: "certificates.ts",
    says: "a control plane frozen until its certificates have ended, and how soon it works again: [--frozen SECONDS]",
  },
  "full-disk": {
    file: "full-disk.ts",
    says: "the disk of the tenants' etcd fills up while somebody writes",
  },
  tenants: {
    file: "tenants.ts",
    says: "a tenant asleep and awake again and again, with writes in flight and a fault each time: [--cycles N] [--seed N] [--faults A,B] [--lane N]",
  },
  "tenants-lives": {
    file: "tenants-lives.ts",
    says: "tenants created and deleted, with a fault in each creation and each deletion: [--lives N] [--seed N] [--faults A,B]",
  },
  "tenants-asleep": {
    file: "tenants-asleep.ts",
    says: "many tenants asked for at once, then asleep while their etcd is killed: [--tenants N]",
  },
};

const [name = "", ...options] = process.argv.slice(2);
const soak = soaks[name];
if (!soak) {
  const list = Object.entries(soaks).map(([name, { says }]) => `  ${name}  ${says}`);
  console.error(`npm run soak -- NAME [options]\n${list.join("\n")}`);
  process.exitCode = 2;
} else {
  const program = fileURLToPath(new URL(soak.file, import.meta.url));
  process.exitCode = spawnSync(process.execPath, [program, ...options], { stdio: "inherit" }).status ?? 1;
}
