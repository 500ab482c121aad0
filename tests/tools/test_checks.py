# SPDX-License-Identifier: Apache-2.0
"""Each check of tools/ passes on a small good tree and fails, naming the file, when it should."""
import pathlib
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "tools"))

import check_docs  # noqa: E402
import check_headers  # noqa: E402
import check_layers  # noqa: E402
import check_tree  # noqa: E402
import check_vectors  # noqa: E402

SPDX = "/* SPDX-License-Identifier: Apache-2.0 */\n"
LAYERS = """# comment
@sans-io wire
base     0
wire     1  base
reactor  1  base
io       2  base wire reactor
"""


class Tree(unittest.TestCase):
    def setUp(self):
        temp = tempfile.TemporaryDirectory()
        self.addCleanup(temp.cleanup)
        self.root = pathlib.Path(temp.name, "repo")
        self.write("src/layers.txt", LAYERS)

    def write(self, name, text, mode=0o644):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)

    def header(self, name, guard, body=""):
        self.write(name, f"{SPDX}#ifndef {guard}\n#define {guard}\n{body}#endif\n")

    def assert_errors(self, errors, *wanted):
        self.assertEqual(len(errors), len(wanted), errors)
        for error, want in zip(errors, wanted):
            self.assertIn(want, error)


class Layers(Tree):
    def test_down_is_fine(self):
        self.write("src/io/a.c", '#include "io/a.h"\n#include <unistd.h>\n#include "wire/b.h"\n')
        self.write("src/wire/b.c", '#include "base/c.h"\n#include "mcp/errors.h"\n')
        self.assert_errors(check_layers.check(self.root))

    def test_up_and_sideways(self):
        self.write("src/base/a.c", '#include "wire/b.h"\n')
        self.write("src/wire/b.c", '  #  include "reactor/loop.h"\n')
        self.assert_errors(check_layers.check(self.root), "src/base/a.c: includes wire/b.h",
                           "src/wire/b.c: includes reactor/loop.h")

    def test_headers_count_too(self):
        self.write("src/wire/deep/b.h", '#include "reactor/loop.h"\n')
        self.assert_errors(check_layers.check(self.root), "wire does not see reactor")

    def test_sans_io(self):
        self.write("src/wire/b.c", '#include <sys/socket.h>\n#include "base/log.h"\n')
        self.assert_errors(check_layers.check(self.root), "sys/socket.h, but wire is sans-IO",
                           "base/log.h, but wire is sans-IO")

    def test_relative_include_and_unknown_folder(self):
        self.write("src/base/a.c", '#include "a.h"\n')
        self.write("src/other/a.c", "\n")
        self.assert_errors(check_layers.check(self.root), '"a.h" is no path', "lies in no part")

    def test_public_header(self):
        self.write("include/mcp/mcp.h", '#include "base/buf.h"\n')
        self.assert_errors(check_layers.check(self.root), "a public header includes base/buf.h")

    def test_table(self):
        self.write("src/layers.txt", "base 0 wire\nwire 1 nothing\n@sans-io gone\n")
        self.assert_errors(check_layers.check(self.root), "base sees wire", "wire sees nothing",
                           "@sans-io names gone")


class Headers(Tree):
    def test_good(self):
        self.header("src/base/a.h", "MCP_BASE_A_H", "#include <stddef.h>\nsize_t base_a(void);\n")
        self.header("src/base/v.h.in", "MCP_BASE_V_H")
        self.header("src/wire/b.h", "MCP_WIRE_B_H", '#include "base/a.h"\n#include "base/v.h"\n')
        self.assert_errors(check_headers.check(self.root, "cc"))

    def test_needs_another(self):
        self.header("src/base/a.h", "MCP_BASE_A_H", "size_t base_a(void);\n")
        self.assert_errors(check_headers.check(self.root, "cc"), "src/base/a.h: does not compile")

    def test_guards(self):
        self.write("include/mcp/none.h", SPDX + "struct x;\n")
        self.header("src/base/a.h", "MCP_BASE_B_H")
        self.header("src/base/c.h", "MCP_C_H")
        self.header("src/wire/c.h", "MCP_C_H")
        self.assert_errors(check_headers.check(self.root, "cc"), "a.h: the guard MCP_BASE_B_H",
                           "src/wire/c.h: has the guard of src/base/c.h", "none.h: no include guard")


class Vectors(Tree):
    def setUp(self):
        super().setUp()
        self.write("tests/vectors/wire.json", "{}\n")
        self.write("tools/cleanroom", "#!/bin/sh\n", 0o755)

    def test_alone(self):
        self.assert_errors(check_vectors.check(self.root))
        self.write("tests/vectors/wire.json", "{\n")
        self.write("tools/cleanroom", "#!/bin/sh\n", 0o644)
        self.assert_errors(check_vectors.check(self.root), "wire.json: ", "is not executable")

    def test_missing(self):
        (self.root / "tools/cleanroom").unlink()
        self.assert_errors(check_vectors.check(self.root), "tools/cleanroom: is missing")

    def test_beside_the_originals(self):
        self.write("../shared/vectors/wire.json", "{}\n")
        self.write("../shared/tools/cleanroom", "#!/bin/sh\n")
        self.assert_errors(check_vectors.check(self.root))
        self.write("../shared/vectors/wire.json", "{ }\n")
        self.write("../shared/tools/cleanroom", "#!/bin/bash\n")
        self.assert_errors(check_vectors.check(self.root), "wire.json: differs", "cleanroom: differs")


class Whole(Tree):
    def test_good(self):
        self.write("src/base/a.c", SPDX + "int a;\n")
        self.write("docs/a.md", "see ../shared/design and /tmp\n")
        self.write("build/x.c", "int x;\n")
        self.assert_errors(check_tree.check(self.root))

    def test_spdx(self):
        self.write("src/base/a.c", "int a;\n")
        self.write("tools/run", "#!/bin/sh\nexit 0\n")
        self.assert_errors(check_tree.check(self.root), "a.c: no SPDX", "tools/run: no SPDX")

    def test_length(self):
        self.write("src/base/a.c", SPDX + "\n" * 799)
        self.assert_errors(check_tree.check(self.root))
        self.write("src/base/a.c", SPDX + "\n" * 800)
        self.assert_errors(check_tree.check(self.root), "a.c: 801 lines")

    def test_text(self):
        self.write("a.md", b"one\r\n")
        self.write("b.md", b"no end")
        self.write("c.md", b"\xff\n")
        self.write("d.png", b"\0\r\n")
        self.write("fuzz/corpus/a/1", b"\xff\r")
        self.assert_errors(check_tree.check(self.root), "a.md: line endings", "b.md: no newline",
                           "c.md: not UTF-8")

    def test_places(self):
        self.write("a.md", "in /ho" + "me/ann/x\nfrom pypi." + "org\n/wo" + "rk/main\n")
        self.assert_errors(check_tree.check(self.root), "a.md:1: a path", "a.md:2: the host",
                           "a.md:3: a path")


class Docs(Tree):
    README = "# A\n## B c\n```sh\nls\n```\n[p](docs/p.md#x-y) [中](README.zh-CN.md)\n"

    def setUp(self):
        super().setUp()
        self.write("README.md", self.README)
        self.write("docs/p.md", "# P\n## `X` y\n[readme](../README.md#b-c) [site](https://a.example/b#c)\n")

    def test_good(self):
        self.write("README.zh-CN.md", "# 甲\n## 乙 丙\n[p](docs/p.md#x-y)\n```sh\nls\n```\n[en](README.md) [b](#乙-丙)\n")
        self.assert_errors(check_docs.check(self.root))

    def test_dead_links(self):
        self.write("README.zh-CN.md", self.README.replace("](docs/p.md#x-y)", "](docs/p.md#x)"))
        self.write("docs/p.md", '# X y\n[a](q.md) <img src="a.svg"> [r](../../repo/README.md) `[b](z.md)`\n```\n[c](d)\n```\n')
        self.assert_errors(check_docs.check(self.root), "README.zh-CN.md: no heading for the link docs/p.md#x",
                           "p.md: no file for the link q.md", "p.md: no file for the link a.svg")
        self.write("docs/p.md", "# X y\n[out](../../other)\n")
        self.write("../other", "")
        self.assert_errors(check_docs.check(self.root), "README.zh-CN.md: no heading", "p.md: no file for the link ../../")

    def test_pages_nobody_finds(self):
        self.write("README.zh-CN.md", self.README)
        self.write("docs/q.md", "[itself](q.md)\n")
        self.write("docs/p.svg", "<svg></sv>\n")
        self.write("src/a.c", SPDX + "/* docs/r.md says why. */\n")
        self.assert_errors(check_docs.check(self.root), "docs/p.svg: no other page", "docs/q.md: no other page",
                           "src/a.c: names docs/r.md", "docs/p.svg: mismatched tag")

    def test_the_pair(self):
        self.write("README.zh-CN.md", self.README.replace("[p](docs/p.md#x-y)", "[p](tests)"))
        self.write("tests/a", "")
        self.assert_errors(check_docs.check(self.root), "links differ from those of README.md: ['docs/p.md', 'tests']")
        self.write("README.zh-CN.md", self.README.replace("## B", "### B").replace("ls", "ls -l"))
        self.assert_errors(check_docs.check(self.root), "headings of other levels", "block 1 of code is another")
        self.write("README.zh-CN.md", self.README.replace("```sh\nls\n```\n", ""))
        self.assert_errors(check_docs.check(self.root), "0 blocks of code, README.md has 1")

    def test_layout(self):
        table = "| a | b |\n|---|---|\n| `x\\|y` | 1 |\n"
        self.write("README.zh-CN.md", self.README)
        self.write("README.md", self.README + table)
        self.assert_errors(check_docs.check(self.root))
        self.write("README.md", self.README + table.replace("\\|", "|") + "```sh\n")
        self.assert_errors(check_docs.check(self.root), "a block of code does not end", "a row of 3 cells where the head has 2: | `x|y`")

    def test_architecture(self):
        rows = "| `src/base` | b | 0 |\n| `src/wire` | w | 1 |\n| `src/wire/face` | f | 1 |\n"
        self.write("docs/p.md", "[a](architecture.md)\n")
        self.write("README.md", "[p](docs/p.md)\n")
        self.write("src/base/a.c", SPDX)
        self.write("src/wire/face/b_c.h", SPDX)
        self.write("docs/architecture.md", rows + "`a.c` `face/b_c.h` `b*.h`\n")
        self.assert_errors(check_docs.check(self.root))
        self.write("docs/architecture.md", rows.replace("w | 1", "w | 2") + "`face/a.c` `src/base/a.c`\n")
        self.assert_errors(check_docs.check(self.root), "[('wire', '1'), ('wire', '2')]", "names face/a.c")
        self.write("docs/architecture.md", rows.replace("base", "bass"))
        self.assert_errors(check_docs.check(self.root), "[('base', '0'), ('bass', '0')]")


if __name__ == "__main__":
    unittest.main()
