// SPDX-License-Identifier: Apache-2.0
#include "launcher/options/command_table.h"

#include <array>

namespace unmask::launcher {
namespace {

constexpr auto kCommands = std::to_array<CommandSpec>({
    {Command::kGenerate, "generate", "answer prompts, conversations or a file of requests",
     "Each --prompt is one user message, put through the checkpoint's chat template where it has one. Text is text:\n"
     "special tokens typed in it are encoded as plain characters unless --special is given. Answers come in the order\n"
     "of the input; requests are spread over the ranks. A request line that cannot be run is answered by\n"
     "{\"id\": ..., \"error\": {\"code\": 3, \"message\": ...}} in its place, and the run ends with code 5.",
     "mpirun -n 2 unmask generate --model models/demo --prompt 'Sort the letters: e x j c' --gen-length 48"},
    {Command::kLogits, "logits", "write the logits of one full pass to a safetensors file",
     "Runs one pass over the tokens and stores what comes out, for checking against any other implementation.",
     "unmask logits --model models/demo --prompt-tokens 509,39,52 --dtype f32 --output out.safetensors"},
    {Command::kTokenize, "tokenize", "turn lines of standard input into token ids",
     "Prints one line of ids, separated by blanks, per line of input. A line ends at the line feed; a carriage return\n"
     "before it belongs to the text. Use --json for texts that hold line feeds.",
     "printf 'Hello\\n' | unmask tokenize --model models/demo"},
    {Command::kDetokenize, "detokenize", "turn lines of token ids into text",
     "Reads ids separated by blanks or commas, with --json one array per line. Special tokens are kept unless\n"
     "--skip-special is given.",
     "echo '39 52 44' | unmask detokenize --model models/demo"},
    {Command::kInfo, "info", "show a checkpoint, its size per rank, this machine and the kernels",
     "Reads headers only. Without --model it shows the machine and the kernels; under mpirun also what messages between its\nranks cost, and how rows would travel.",
     "unmask info --model models/demo --ranks 4"},
    {Command::kCheck, "check", "test kernels, exchange and a checkpoint on the ranks given",
     "Compares every kernel with the plainest one and the token exchange with direct addressing; if the folder holds\n"
     "logits.safetensors or decode.json, runs these golden cases too. Prints PASS or FAIL lines; exit code 3 if one fails.",
     "mpirun -n 4 unmask check --model tests/data/wide"},
    {Command::kBench, "bench", "measure this machine and the program beside the machine's limits",
     "Prints one record per case: the median of its times, the limit that was measured by the same threads in turn with the\n"
     "case, and the share of it that was reached. limits: memory read and matrix peak of all ranks together.",
     "unmask bench limits -o json", "bench"},
    {Command::kBatch, "batch", "answer a file of requests in a job that may be killed and run again",
     "Answers go to a file, in the order of the input, with a journal beside it. Run again, the same command goes on where the\n"
     "last run ended, however it ended, also on another number of ranks: nothing is lost and nothing is repeated. SIGUSR1,\n"
     "SIGTERM and --max-time end the run at the end of a step with code 75: run it again. A line that cannot be answered gets\n"
     "an error in its place, and the run ends with code 5.",
     "mpirun -n 8 unmask batch --model DIR -i requests.jsonl -o answers.jsonl"},
    {Command::kPack, "pack", "write a checkpoint as one file, in the form in which kernels take it",
     "The file holds weights in the order in which kernels take them (--dtype int8, int4: experts quantised), tokenizer, chat\n"
     "template and checksums. --model FILE then stands for the folder in every command, on any number of ranks.",
     "unmask pack --model DIR --dtype int8 --output model.int8"},
});

}  // namespace

std::span<const CommandSpec> command_table() { return kCommands; }

const CommandSpec& spec_of(Command command) {
  const CommandSpec& spec = kCommands[static_cast<std::size_t>(command)];
  UNMASK_CHECK(spec.command == command, "the table of commands is out of order at {}", spec.name);
  return spec;
}

}  // namespace unmask::launcher
