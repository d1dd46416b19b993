import { readFileSync } from "node:fs";
import { Command } from "commander";
import { ApiProblem } from "../api/index.ts";
import { IronwrightError } from "../core/errors.ts";
import { configCommand } from "./config.ts";
import { describeCommand } from "./describe.ts";
import { doctorCommand } from "./doctor.ts";
import { explainCommand } from "./explain.ts";
import { getCommand } from "./get.ts";
import { kubeconfigCommand } from "./kubeconfig.ts";
import { collect, type GlobalOptions } from "./options.ts";
import { rackCommand } from "./rack.ts";
import { serveCommand } from "./serve.ts";
import { simulateCommand } from "./simulate.ts";
import { superviseCommand } from "./supervise.ts";
import { timelineCommand } from "./timeline.ts";

const { version } = JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")) as { version: string };

const program = new Command("ironwright")
  .description("Turns racks of GPU servers into Kubernetes nodes for tenants, on demand.")
  .version(version)
  .option("-c, --config <file>", "configuration file; default ./ironwright.yaml, then /etc/ironwright/ironwright.yaml")
  .option("--set <key=value>", "set one setting, e.g. --set host.port=6444; may be given again", collect)
  .showHelpAfterError();

function global(): GlobalOptions {
  const { config, set } = program.opts<{ config?: string; set?: readonly string[] }>();
  return { ...(config ? { file: config } : {}), ...(set ? { set } : {}) };
}

for (const command of [
  serveCommand,
  superviseCommand,
  configCommand,
  rackCommand,
  getCommand,
  describeCommand,
  timelineCommand,
  kubeconfigCommand,
  doctorCommand,
]) {
  program.addCommand(command(global));
}
program.addCommand(explainCommand());
program.addCommand(simulateCommand());

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof IronwrightError || error instanceof ApiProblem)
    process.stderr.write(`${error.code}: ${error.message}\n  next: ${error.next}\n`);
  else process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
}
