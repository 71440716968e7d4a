/* JSON output of the sub-commands, through json-c: what run and bench share. Only where the build found
 * json-c. */
#ifndef MIA_CLI_JSON_H
#define MIA_CLI_JSON_H

#ifdef MIA_HAVE_JSON_C
#include <json-c/json.h>
#include <stddef.h>

/* A string object of any bytes: JSON takes only UTF-8, so what is not becomes U+FFFD. NULL when there is no
 * memory. */
json_object *mia__cli_json_text(const char *bytes, size_t length);

/* Prints the object on one line of standard output and frees it. Returns the exit code. */
int mia__cli_json_print(const char *command, json_object *object);
#endif

#endif
