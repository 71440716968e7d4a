/* The sub-commands of the `mia` program, a file each. main.c holds them in a table and calls them with
 * argv[0] = the sub-command's name; they return the program's exit code (common.h). */
#ifndef MIA_CLI_COMMANDS_H
#define MIA_CLI_COMMANDS_H

int mia__cli_run(int argc, char **argv);
int mia__cli_tokenize(int argc, char **argv);
int mia__cli_detokenize(int argc, char **argv);
int mia__cli_eval(int argc, char **argv);
int mia__cli_inspect(int argc, char **argv);
int mia__cli_devices(int argc, char **argv);
int mia__cli_bench(int argc, char **argv);
int mia__cli_plan(int argc, char **argv);
int mia__cli_export(int argc, char **argv);
int mia__cli_exec(int argc, char **argv);
int mia__cli_graph(int argc, char **argv);
int mia__cli_trace(int argc, char **argv);
int mia__cli_layout(int argc, char **argv);

#endif
