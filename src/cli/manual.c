/* SPDX-License-Identifier: Apache-2.0 */
/* mcpgate manual: the pages mcpgate(1) and mcpgate.yaml(5), made of the tables that the program
 * itself goes by: commands, options, exit statuses, keys of the configuration. For man(7). */
#include <stdio.h>
#include <string.h>

#include "base/version.h"
#include "cli/commands.h"
#include "cli/text.h"
#include "gateway/config_item.h"

enum { LINE_MAX_CHARS = 76 };

/* --- roff ------------------------------------------------------------------------------------- */

/* One character of text as roff has it. */
static void put_char(char c)
{
    if (c == '\\') {
        (void)fputs("\\e", stdout); /* here and below, failures are seen at the end */
    } else if (c == '-') {
        (void)fputs("\\-", stdout);
    } else {
        (void)fputc(c, stdout);
    }
}

static void put_word(const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        put_char(word[i]);
    }
}

/* A paragraph's text, in lines; what is between two backticks is bold. */
static void put_text(const char *text, size_t len)
{
    size_t column = 0;
    bool is_bold = false;

    for (size_t i = 0; i < len;) {
        size_t word = strcspn(text + i, " \n");

        word = word < len - i ? word : len - i;
        if (word > 0) {
            if (column + word > LINE_MAX_CHARS) {
                (void)fputc('\n', stdout);
                column = 0;
            }
            (void)fputs(column > 0 ? " " : strchr(".'", text[i]) != NULL ? "\\&" : "", stdout);
            for (size_t j = i; j < i + word; j++) {
                if (text[j] == '`') {
                    is_bold = !is_bold;
                    (void)fputs(is_bold ? "\\fB" : "\\fR", stdout);
                } else {
                    put_char(text[j]);
                }
            }
            column += word + 1;
        }
        i += word + 1;
    }
    (void)fputc('\n', stdout);
}

static void put_str(const char *text)
{
    put_text(text, strlen(text));
}

static void put_section(const char *name)
{
    (void)printf(".SH %s\n", name);
}

/* "NAME MORE" in bold and italics, with what it means below. */
static void put_item(const char *name, const char *more, const char *meaning)
{
    (void)fputs(".TP\n\\fB", stdout);
    put_word(name, strlen(name));
    (void)fputs("\\fR", stdout);
    if (*more != '\0') {
        (void)fputs(" \\fI", stdout);
        put_word(more, strlen(more));
        (void)fputs("\\fR", stdout);
    }
    (void)fputc('\n', stdout);
    put_str(meaning);
}

static void put_head(const char *title, int section, const char *name, const char *what)
{
    (void)printf(".TH %s %d %s \"mcpgate %s\"\n.SH NAME\n%s \\- %s\n", title, section,
                 MCPGATE_VERSION_DATE, MCPGATE_VERSION, name, what);
}

/* --- mcpgate(1) ------------------------------------------------------------------------------- */

/* The options of a parser; true: those of every client are among them, which are described once. */
static bool put_options(const struct argp *argp)
{
    const struct argp_option *option = argp->options;
    bool is_client = false;

    for (; option != NULL && (option->name != NULL || option->key != 0); option++) {
        char name[64];

        if (option->name == NULL || (option->flags & OPTION_HIDDEN) != 0) {
            continue;
        }
        if (option->key > ' ' && option->key < 0x7f) {
            (void)snprintf(name, sizeof(name), "-%c, --%s", option->key, option->name);
        } else {
            (void)snprintf(name, sizeof(name), "--%s", option->name);
        }
        put_item(name, option->arg == NULL ? "" : option->arg, option->doc);
    }
    for (const struct argp_child *child = argp->children; child != NULL && child->argp != NULL;
         child++) {
        if (child->argp == &cli_common_argp) {
            is_client = true;
        } else if (put_options(child->argp)) {
            is_client = true;
        }
    }
    return is_client;
}

/* An earlier command with the same options of its own; NULL: there is none. */
static const struct cli_command *same_options(const struct cli_command *command)
{
    for (const struct cli_command *c = cli_commands; c != command; c++) {
        if (c->argp->options != NULL && c->argp->options == command->argp->options) {
            return c;
        }
    }
    return NULL;
}

static void put_command(const struct cli_command *command)
{
    const struct cli_command *same = same_options(command);
    const struct argp *argp = command->argp;
    const char *doc = argp->doc, *after = strchr(doc, '\v');

    (void)fputs(".SS mcpgate ", stdout);
    put_word(command->name, strlen(command->name));
    if (argp->args_doc != NULL) {
        (void)fputc(' ', stdout);
        put_word(argp->args_doc, strlen(argp->args_doc));
    }
    (void)fputc('\n', stdout);
    put_text(doc, after == NULL ? strlen(doc) : (size_t)(after - doc));
    if (same != NULL) {
        (void)printf(".PP\nThe options are those of \\fBmcpgate %s\\fR.\n", same->name);
    } else if (put_options(argp)) {
        (void)fputs(".PP\nThe options of a client, below, are taken too.\n", stdout);
    }
    if (after != NULL) {
        (void)fputs(".PP\n", stdout);
        put_str(after + 1);
    }
}

static void put_chat(void)
{
    put_section("IN A CHAT");
    put_str(
        "What can be typed on a terminal besides what the model is told. Lines can be edited; Tab "
        "completes, Ctrl-C breaks an answer off, Alt-Enter is a new line, and Ctrl-D on an "
        "empty line leaves.");
    put_item("\"\"\"", "", "Begins and ends a text of several lines.");
#define CHAT_COMMAND(function, name, arguments, meaning) put_item(name, arguments, meaning);
#include "cli/chat_commands.def"
#undef CHAT_COMMAND
#define CHAT_SETTING(function, name, arguments, meaning) put_item("/set " name, arguments, meaning);
#include "cli/chat_settings.def"
#undef CHAT_SETTING
}

static void put_surroundings(void)
{
    put_section("EXIT STATUS");
#define CLI_EXIT(name, number, meaning) put_item(#number, "", meaning);
#include "cli/exits.def"
#undef CLI_EXIT
    put_section("SIGNALS");
    put_str("Of `mcpgate serve` alone.");
    put_item("SIGTERM, SIGINT", "",
             "New connections are refused and running answers may end; sent "
             "again, all ends at once.");
    put_item("SIGHUP", "", "The configuration is loaded anew; a wrong one is refused.");
    put_item("SIGUSR1", "", "The file of the access log is opened anew.");
    put_section("ENVIRONMENT");
    put_item("MCPGATE_HOST", "", "The gateway's MCP listener, for the commands of a client.");
    put_item("MCPGATE_ADMIN", "", "Its admin listener, for mcpgate why.");
    put_item("MCPGATE_KEY", "", "The key that they show.");
    put_item("MCPGATE_NOHISTORY", "", "Not empty: what is typed into a chat is not kept.");
    put_item("NO_COLOR", "", "Not empty: no colour on terminals.");
    put_item("XDG_STATE_HOME", "", "Where files of chats are kept (~/.local/state).");
    put_section("FILES");
    put_item("/etc/mcpgate/mcpgate.yaml", "", "The configuration of the service.");
    put_item("$XDG_STATE_HOME/mcpgate/chat_history", "", "What was typed into chats.");
    put_item("$XDG_STATE_HOME/mcpgate/chats/NAME.json", "", "Conversations that were saved.");
    put_item("~/.editrc", "", "How lines are edited, see editrc(5).");
    put_section("SEE ALSO");
    (void)fputs(".BR mcpgate.yaml (5)\n", stdout);
}

static void put_mcpgate(void)
{
    put_head("MCPGATE", 1, "mcpgate",
             "gateway in front of Ollama, llama.cpp and vLLM, and its client");
    put_section("SYNOPSIS");
    (void)fputs(".B mcpgate\n\\fICOMMAND\\fR [\\fIOPTION\\fR...] [\\fIARGUMENT\\fR...]\n", stdout);
    put_section("DESCRIPTION");
    put_str(
        "`mcpgate serve` is a gateway between programs and local model servers. Programs reach all "
        "of them through one address, with Ollama's API, the OpenAI or Anthropic API, or MCP, the "
        "Model Communication Protocol (not the Model Context Protocol). The other commands are "
        "its client and its tools.");
    put_section("COMMANDS");
    for (const struct cli_command *command = cli_commands; command->name != NULL; command++) {
        put_command(command);
    }
    put_section("OPTIONS OF A CLIENT");
    (void)put_options(&cli_common_argp);
    put_chat();
    put_surroundings();
}

/* --- mcpgate.yaml(5) -------------------------------------------------------------------------- */

static void put_config_item(const struct config_item *item)
{
    char expected[CONFIG_EXPECTED_MAX], line[CONFIG_EXPECTED_MAX + 64];

    config_item_name(item, line, sizeof(line));
    put_item(line, "", item->help);
    config_item_expected(item, expected);
    if (item->initial != NULL) {
        (void)snprintf(line, sizeof(line), "Value: %s. Default: `%s`.", expected, item->initial);
    } else {
        (void)snprintf(line, sizeof(line), "Value: %s.", expected);
    }
    (void)fputs(".br\n", stdout);
    put_str(line);
}

static void put_mcpgate_yaml(void)
{
    put_head("MCPGATE.YAML", 5, "mcpgate.yaml", "configuration of mcpgate serve");
    put_section("DESCRIPTION");
    put_str(
        "One YAML document of at most 1 MiB, without aliases, that `mcpgate serve -c FILE` reads. "
        "Everything in it may be left out. Options of the command line win over it; --node "
        "replaces all of its nodes. `mcpgate check-config -c FILE` says what is wrong with "
        "file, line, key and what was expected.");
    (void)fputs(".PP\n", stdout);
    put_str(
        "`nodes` and `keys` are lists of entries with the keys below, `headers` is a list in an "
        "entry of `nodes`. `routes` and `models` have an entry for each name; `arms` is "
        "a list in one of `routes`, `pin` a mapping in one of `models`. Relative names of files "
        "start at the folder of the "
        "configuration. Unknown keys, keys given twice and empty lists are mistakes.");
    put_section("KEYS");
    for (size_t i = 0; i < CONFIG_ITEM_COUNT; i++) {
        put_config_item(&config_items[i]);
    }
    put_section("EXAMPLES");
    (void)fputs(".EX\n"
                "nodes:\n"
                "  \\- url: http://127.0.0.1:11434\n"
                "  \\- url: http://10.0.0.7:8000\n"
                "    kind: openai\n"
                "    name: vllm\n"
                "    api_key_file: vllm.key\n"
                "mcp: {listen: 0.0.0.0:8080}\n"
                "http: {listen: 0.0.0.0:11435}\n"
                "keys:\n"
                "  \\- {name: alice, key_file: alice.key}\n"
                "limits: {max_body: 200MiB}\n"
                "timeouts: {first_byte: 20m}\n"
                "log: {level: info, access: stderr}\n"
                ".EE\n",
                stdout);
    put_section("SEE ALSO");
    (void)fputs(".BR mcpgate (1)\n", stdout);
}

/* --- the command ------------------------------------------------------------------------------ */

static error_t parse_manual(int key, char *arg, struct argp_state *state)
{
    const char **page = state->input;

    switch (key) {
    case ARGP_KEY_ARG:
        if (state->arg_num > 0) {
            cli_usage(state, "expected one page, not '%s' too", arg);
        }
        *page = arg;
        return 0;
    default:
        return ARGP_ERR_UNKNOWN;
    }
}

const struct argp cli_manual_argp = {
    .parser = parse_manual,
    .args_doc = "[mcpgate|mcpgate.yaml]",
    .doc = "Prints a page of the manual, mcpgate(1) or mcpgate.yaml(5), for man(1).\v"
           "To read it: mcpgate manual | man -l -",
    .children = cli_help_children,
};

int cli_manual(int argc, char **argv)
{
    const char *page = "mcpgate";

    cli_parse(&cli_manual_argp, argc, argv, &page);
    if (strcmp(page, "mcpgate") == 0) {
        put_mcpgate();
    } else if (strcmp(page, "mcpgate.yaml") == 0) {
        put_mcpgate_yaml();
    } else {
        cli_error("expected mcpgate or mcpgate.yaml, not '%s'; see mcpgate manual --help", page);
        return CLI_EXIT_USAGE;
    }
    return CLI_EXIT_OK;
}
