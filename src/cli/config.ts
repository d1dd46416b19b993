import { Command } from "commander";
import { stringify } from "yaml";
import { loadConfig, redacted, variables } from "../config/index.ts";
import type { GlobalOptions } from "./options.ts";
import { table } from "./print.ts";

export function configCommand(global: () => GlobalOptions): Command {
  return new Command("config")
    .description("print the effective configuration, secrets left out")
    .option("-o, --output <form>", "yaml or json", "yaml")
    .option("--variables", "list every setting with its environment variable instead")
    .action((options) => {
      if (options.variables) {
        console.log(
          table(
            ["SETTING", "VARIABLE", "MEANING"],
            variables().map((one) => [one.path.join("."), one.name, one.description]),
          ),
        );
        return;
      }
      const config = redacted(loadConfig({ ...global(), env: process.env }));
      console.log(options.output === "json" ? JSON.stringify(config, null, 2) : stringify(config).trimEnd());
    });
}
