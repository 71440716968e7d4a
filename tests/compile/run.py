#!/usr/bin/env python3
"""Programs that must, or must not, compile, with every compiler that is given.

    run.py --include DIR --library LIBMIA.A --compiler NAME=PATH... fail|pass|headers FILE...

fail     Each FILE must be refused, and the diagnostics must match every `// expect-gcc: REGEX` (g++ too) and
         `// expect-clang: REGEX` (clang++ too) at its head. A .c file is compiled as C, a .cpp file as C++.
pass     Each FILE must compile without a warning: a .c file as C and as C++, a .cpp file as C++. If it holds a
         main, it is linked with the library, run, and must return 0.
headers  Each public header must compile by itself without a warning, as C and as C++.

Other lines at the head of a FILE: `// only: c` (not as C++ too), `// flags: -Werror=...` (added to the command line).
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile

WARNINGS = "-Wall -Wextra -Wpedantic -Wshadow -Wconversion".split()
C_FLAGS = "-x c -std=c11 -Wstrict-prototypes -Wmissing-prototypes".split() + WARNINGS
CPP_FLAGS = "-x c++ -std=c++17".split() + WARNINGS


class Runner:
    def __init__(self, include, library, compilers):
        self.include, self.library, self.compilers = include, library, compilers
        self.failures = 0
        self.checks = 0

    def compilers_of(self, cpp):
        return [(name, path) for name, path in self.compilers if name.endswith("++") == cpp]

    def report(self, source, name, fault, output=""):
        self.failures += 1
        print(f"{source}: {name}: {fault}")
        if output:
            print("    " + "\n    ".join(output.splitlines()[:40]))

    def compile(self, path, cpp, source, arguments):
        command = [path, *(CPP_FLAGS if cpp else C_FLAGS), "-D_GNU_SOURCE", "-I", self.include]
        result = subprocess.run(command + arguments + [source], capture_output=True, text=True, check=False,
                                env={**os.environ, "LC_ALL": "C"})
        self.checks += 1
        return result.returncode, result.stderr + result.stdout

    def must_fail(self, source):
        text, cpp = read(source), source.endswith(".cpp")
        for name, path in self.compilers_of(cpp):
            family = "clang" if name.startswith("clang") else "gcc"
            wanted = directives(text, f"expect-{family}")
            if not wanted:
                self.report(source, name, f"the file has no line '// expect-{family}: REGEX'")
                continue
            status, output = self.compile(path, cpp, source, ["-c", "-o", os.devnull] + flags(text))
            if status == 0:
                self.report(source, name, "compiles, and must not", output)
            for regex in wanted:
                if status != 0 and not re.search(regex, output):
                    self.report(source, name, f"no diagnostic matches '{regex}' in", output)

    def must_pass(self, source):
        text = read(source)
        only_c = "c" in directives(text, "only")
        has_main = re.search(r"^int main\(", text, re.MULTILINE)
        for cpp in (False, True):
            if (source.endswith(".cpp") and not cpp) or (cpp and only_c):
                continue
            for name, path in self.compilers_of(cpp):
                self.compile_and_run(source, name, path, cpp, flags(text), has_main)

    def compile_and_run(self, source, name, path, cpp, more, has_main):
        with tempfile.TemporaryDirectory() as folder:
            made = os.path.join(folder, "program.o")
            status, output = self.compile(path, cpp, source, ["-Werror", "-O1", "-c", "-o", made] + more)
            if status != 0:
                self.report(source, name, "does not compile without a warning", output)
                return
            if not has_main:
                return
            program = os.path.join(folder, "program")
            steps = (([path, made, self.library, "-pthread", "-lm", "-o", program], "does not link"),
                     ([program], "fails when run"))
            for command, fault in steps:
                done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
                if done.returncode != 0:
                    self.report(source, name, f"{fault} ({done.returncode})", done.stderr + done.stdout)
                    return

    def must_stand_alone(self, header):
        for name, path in self.compilers:
            cpp = name.endswith("++")
            with tempfile.NamedTemporaryFile("w", suffix=".cpp" if cpp else ".c") as file:
                base = os.path.basename(header)
                file.write(f"#include <mia/{base}>\n#include <mia/{base}>\nint mia_header_stands_alone;\n")
                file.flush()
                status, output = self.compile(path, cpp, file.name, ["-Werror", "-fsyntax-only"])
                if status != 0:
                    self.report(header, name, "does not compile by itself without a warning", output)


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()


def directives(text, key):
    return [found.strip() for found in re.findall(rf"^// *{key}: *(.*)$", text, re.MULTILINE)]


def flags(text):
    return [flag for line in directives(text, "flags") for flag in line.split()]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--include", required=True)
    parser.add_argument("--library", required=True)
    parser.add_argument("--compiler", action="append", default=[], metavar="NAME=PATH")
    parser.add_argument("kind", choices=("fail", "pass", "headers"))
    parser.add_argument("files", nargs="+")
    options = parser.parse_args()

    runner = Runner(options.include, options.library, [tuple(c.split("=", 1)) for c in options.compiler])
    check = {"fail": runner.must_fail, "pass": runner.must_pass, "headers": runner.must_stand_alone}[options.kind]
    for file in options.files:
        check(file)
    print(f"{runner.checks} compilations, {runner.failures} failures")
    if runner.checks == 0 and runner.failures == 0:
        return 77  # no compiler of that language is here: skipped
    return 1 if runner.failures else 0


if __name__ == "__main__":
    sys.exit(main())
