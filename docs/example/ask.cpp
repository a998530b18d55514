// SPDX-License-Identifier: Apache-2.0
// Answers questions with the installed library: mpirun -n 2 ask models/demo "What is 82 plus 78?" "Sort the letters: q d m"
#include <mpi.h>
#include <cstdio>
#include <nlohmann/json.hpp>

#include "comm/mpi/mpi_communicator.h"
#include "runtime/chat/chat_template.h"
#include "runtime/engine.h"
#include "runtime/model.h"
#include "runtime/special_tokens.h"

using namespace unmask;

void ask(MPI_Comm ranks, const std::filesystem::path& folder, const std::vector<std::string>& questions) {
  const auto comm = comm::mpi::make_mpi_communicator(ranks, {});
  runtime::Model model(*comm, folder);
  model.load();
  const auto tokenizer = runtime::Tokenizer::read(folder / "tokenizer.json");
  const auto chat = runtime::ChatTemplate::read(folder).value();
  const auto special = runtime::find_special_tokens(folder, model.config(), &tokenizer, {});
  runtime::Engine engine(model.transformer(),
      {.kv_memory_bytes = model.kv_memory_bytes(), .eos_tokens = special.ends, .mask_token = special.mask},
      {.on_answer = [&](const runtime::Request& request, const runtime::Answer& answer) {
        const auto text = tokenizer.decode(std::span(answer.tokens).first(answer.text_tokens), {});
        std::printf("%s: %s\n", request.id.c_str(), answer.error ? answer.error->what() : text.c_str());
      }});
  for (std::size_t i = comm->rank().at(); i < questions.size(); i += size(comm->num_ranks())) {
    const auto text = chat.render({{{"role", "user"}, {"content", questions[i]}}}, {});
    engine.submit({.id = std::to_string(i + 1), .prompt = tokenizer.encode(text), .options = {.gen_length = 32}});
  }
  while (engine.run_step()) {}
}

int main(int argc, char** argv) {
  int level = 0;
  MPI_Init_thread(&argc, &argv, MPI_THREAD_FUNNELED, &level);
  ask(MPI_COMM_WORLD, argv[1], {argv + 2, argv + argc});
  MPI_Finalize();
}
