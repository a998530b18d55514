// SPDX-License-Identifier: Apache-2.0
// write_man_pages FOLDER VERSION: unmask.1 and one page a command, from the tables. Runs while building.
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>

#include "base/error.h"
#include "launcher/options/command_table.h"
#include "launcher/options/man_page.h"

namespace {

void write(const std::filesystem::path& file, const std::string& text) {
  std::ofstream out(file);
  out << text;
  out.close();
  unmask::require(static_cast<bool>(out), unmask::ExitCode::kIo, "{}: cannot be written", file.string());
}

}  // namespace

int main(int argc, char** argv) {
  using namespace unmask::launcher;
  try {
    unmask::require(argc == 3, unmask::ExitCode::kUsage, "expected a folder and a version, found {} arguments", argc - 1);
    const std::filesystem::path folder = argv[1];
    std::filesystem::create_directories(folder);
    write(folder / "unmask.1", program_man_page(argv[2]));
    for (const CommandSpec& spec : command_table()) {
      write(folder / unmask::format("unmask-{}.1", spec.name), command_man_page(spec.command, argv[2]));
    }
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "write_man_pages: %s\n", error.what());
    return 1;
  }
}
