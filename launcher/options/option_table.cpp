// SPDX-License-Identifier: Apache-2.0
#include <array>
#include <charconv>
#include <limits>

#include "launcher/options/option_spec.h"

namespace unmask::launcher {
namespace {

using runtime::SamplingOptions;
using Values = std::span<const std::string>;

constexpr CommandSet kGenerate = only(Command::kGenerate);
constexpr CommandSet kLogits = only(Command::kLogits);
constexpr CommandSet kTokenize = only(Command::kTokenize);
constexpr CommandSet kDetokenize = only(Command::kDetokenize);
constexpr CommandSet kInfo = only(Command::kInfo);
constexpr CommandSet kCheck = only(Command::kCheck);
constexpr CommandSet kBench = only(Command::kBench);
constexpr CommandSet kBatch = only(Command::kBatch);
constexpr CommandSet kPack = only(Command::kPack);
constexpr CommandSet kAnswers = kGenerate | kBatch | kBench;
constexpr CommandSet kComputes = kAnswers | kLogits | kCheck;
constexpr CommandSet kAll = kComputes | kTokenize | kDetokenize | kInfo | kPack;

constexpr std::uint64_t kMaxInt = std::numeric_limits<std::int32_t>::max();
constexpr std::uint64_t kMaxBytes = std::numeric_limits<std::int64_t>::max();
constexpr std::uint64_t kMaxSeed = std::numeric_limits<std::uint64_t>::max();

// The values that reach an apply function have passed find_fault().
template <class T>
T number(Values values) {
  T out{};
  std::from_chars(values.back().data(), values.back().data() + values.back().size(), out);
  return out;
}

/// The place of the value among the choices, which are listed in the order of the enumerators.
template <class Enum>
Enum choice(Values values, std::string_view choices) {
  const auto all = split_choices(choices);
  for (std::size_t i = 0; i < all.size(); ++i) {
    if (all[i] == values.back()) {
      return static_cast<Enum>(i);
    }
  }
  UNMASK_CHECK(false, "'{}' is none of {}", values.back(), choices);
}

constexpr std::string_view kDecoders = "threshold|steps|factor|credit|hierarchy";
constexpr std::string_view kCaches = "none|prefix|dual|vicinity";
constexpr std::string_view kRemaskings = "low_confidence|random";

constexpr std::string_view kBenches = "limits|gemm|attention|head|forward|generate|exchange|moe|quality";
constexpr std::string_view kFormats = "md|json|csv";

constexpr auto kTable = std::to_array<OptionSpec>({
    {.name = "model", .group = OptionGroup::kModel, .commands = kAll, .value = "DIR|FILE",
     .help = "checkpoint folder in Hugging Face form (config.json, safetensors, tokenizer.json), or a file written by pack"},

    {.name = "prompt", .group = OptionGroup::kInput, .commands = kGenerate, .value = "TEXT", .repeat = Repeat::kCollects,
     .help = "a question; may be given several times, the answers come in the same order"},
    {.name = "prompt-tokens", .group = OptionGroup::kInput, .commands = kGenerate | kLogits, .value = "1,2,3",
     .repeat = Repeat::kCollects, .help = "a prompt as token ids, used as it is; generate takes several"},
    {.name = "messages", .group = OptionGroup::kInput, .commands = kGenerate, .value = "FILE.json", .repeat = Repeat::kCollects,
     .help = "a conversation: an array of {\"role\", \"content\"}, or {\"messages\": [...]}"},
    {.name = "requests", .group = OptionGroup::kInput, .commands = kGenerate | kBench, .value = "FILE",
     .help = "one JSON object per line ('-': standard input) with prompt, prompt_tokens or messages, an optional id (else "
             "the number of the line), and any sampling option; blank lines are skipped"},
    {.name = "input", .letter = 'i', .group = OptionGroup::kInput, .commands = kBatch, .value = "FILE",
     .help = "one request per line ('-': standard input; also a pipe, also packed with zstd): as --requests of generate takes them, or "
             "in OpenAI's batch format (/v1/chat/completions, /v1/completions)"},
    {.name = "dry-run", .group = OptionGroup::kInput, .kind = ValueKind::kFlag, .commands = kBatch,
     .help = "check every line of the input, say what the job needs, and answer nothing"},
    {.name = "status", .group = OptionGroup::kInput, .commands = kBatch, .value = "FILE",
     .help = "say how far the job with these answers is, running or dead; needs nothing else"},
    {.name = "restart", .group = OptionGroup::kInput, .kind = ValueKind::kFlag, .commands = kBatch,
     .help = "throw away the answers that are there instead of going on from them"},
    {.name = "system", .group = OptionGroup::kInput, .commands = kAnswers, .value = "TEXT",
     .help = "system message put before every conversation that has none"},
    {.name = "bench", .group = OptionGroup::kInput, .kind = ValueKind::kChoice, .commands = kBench, .choices = kBenches,
     .help = "what to measure; the word behind 'bench'"},
    {.name = "repeat", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N",
     .fallback = "7", .min = 1, .max = 100000, .help = "measurements of each case (generate: 1)"},
    {.name = "config", .group = OptionGroup::kInput, .commands = kBench, .value = "NAME|FILE",
     .help = "a network of this shape with random weights in memory: llada-moe-7b or a config.json (gemm, attention, head, "
             "forward: llada-moe-7b; generate: instead of --model)"},
    {.name = "expect", .group = OptionGroup::kInput, .commands = kBench, .value = "FILE",
     .help = "quality: the right answer to each of --requests, one a line"},
    {.name = "concurrency", .group = OptionGroup::kInput, .commands = kBench, .value = "LIST", .fallback = "1,4,16,64",
     .help = "generate: requests at a time, a case for each"},
    {.name = "count", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N",
     .fallback_note = "all of --requests, else as many as run at a time", .min = 1, .max = 1000000, .help = "generate: requests of a case; quality: made-up requests, 8 without it"},
    {.name = "prompt-length", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "TOKENS",
     .fallback = "128", .max = kMaxInt, .help = "generate, quality: length of made-up prompts, without --requests"},
    {.name = "tokens", .group = OptionGroup::kInput, .commands = kBench, .value = "LIST", .fallback = "32,512",
     .help = "rows per rank, a case for each (gemm, attention, head, forward: 1,8,32,128,1024)"},
    {.name = "hidden", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N",
     .fallback = "2048", .min = 1, .max = 1 << 20, .help = "exchange, moe: values of a row"},
    {.name = "width", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N",
     .fallback = "1024", .min = 1, .max = 1 << 20, .help = "moe: values inside an expert"},
    {.name = "experts", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N",
     .fallback = "64", .min = 1, .max = 4096, .help = "exchange, moe: experts of the layer"},
    {.name = "top-k", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N",
     .fallback = "8", .min = 1, .max = 4096, .help = "exchange, moe: experts of a row"},
    {.name = "skew", .group = OptionGroup::kInput, .commands = kBench, .value = "uniform|zipf|R|FILE", .fallback = "uniform",
     .help = "exchange, moe: how rows choose experts; R: rank 0 gets R times the traffic of another rank; FILE: as recorded"},
    {.name = "wanted", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "ROWS", .fallback = "32",
     .min = 1, .max = kMaxInt, .help = "attention, forward: rows whose logits are wanted, the last ones of a case"},
    {.name = "context", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "TOKENS", .fallback = "512",
     .max = kMaxInt, .help = "attention, forward: positions whose keys and values are stored; fewer rows are a window at their end"},
    {.name = "sequences", .group = OptionGroup::kInput, .kind = ValueKind::kInteger, .commands = kBench, .value = "N", .fallback = "1",
     .min = 1, .max = 65536, .help = "attention, forward: sequences among which --tokens and --wanted are divided, each with --context positions"},
    {.name = "raw", .group = OptionGroup::kInput, .kind = ValueKind::kFlag, .commands = kAnswers,
     .help = "encode each prompt as it is, without the chat template"},
    {.name = "special", .group = OptionGroup::kInput, .kind = ValueKind::kFlag, .commands = kAnswers | kTokenize,
     .help = "recognise special tokens in the given text (else they are encoded as plain characters)"},
    {.name = "chat", .group = OptionGroup::kInput, .kind = ValueKind::kFlag, .commands = kTokenize,
     .help = "each line is one user message, put through the chat template with its generation prompt"},

    {.name = "gen-length", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers, .value = "TOKENS",
     .fallback = "128", .min = 1, .max = kMaxInt, .help = "length of the answer",
     .apply = [](SamplingOptions& o, Values v) { o.gen_length = number<std::int64_t>(v); }},
    {.name = "block-length", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers,
     .value = "TOKENS", .fallback = "32", .min = 1, .max = kMaxInt,
     .help = "the answer is finished in blocks of this length, left to right; the last one may be shorter",
     .apply = [](SamplingOptions& o, Values v) { o.block_length = number<std::int64_t>(v); }},
    {.name = "decoder", .group = OptionGroup::kSampling, .kind = ValueKind::kChoice, .commands = kAnswers,
     .fallback = "threshold", .choices = kDecoders, .help = "which positions a step unmasks",
     .apply = [](SamplingOptions& o, Values v) { o.decoder = choice<runtime::DecoderKind>(v, kDecoders); }},
    {.name = "steps", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers, .value = "N",
     .fallback_note = "gen-length", .min = 1, .max = kMaxInt, .help = "decoder steps: passes over the whole answer",
     .apply = [](SamplingOptions& o, Values v) { o.steps = number<std::int64_t>(v); }},
    {.name = "threshold", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "P",
     .fallback = "0.9", .max_real = 1, .help = "decoders threshold, credit, hierarchy: confidence that is enough to unmask",
     .apply = [](SamplingOptions& o, Values v) { o.threshold = number<double>(v); }},
    {.name = "factor", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "F",
     .fallback = "1.0", .max_real = 1e6, .help = "decoder factor: the n best are unmasked while the n-th has 1 - F / (n + 1)",
     .apply = [](SamplingOptions& o, Values v) { o.factor = number<double>(v); }},
    {.name = "low-threshold", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "P",
     .fallback = "0.4", .max_real = 1, .help = "decoder hierarchy: least confidence of the best position of a masked run",
     .apply = [](SamplingOptions& o, Values v) { o.low_threshold = number<double>(v); }},
    {.name = "credit-decay", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "D",
     .fallback = "0.8", .max_real = 1, .help = "decoder credit: what is left of earlier evidence after a step",
     .apply = [](SamplingOptions& o, Values v) { o.credit_decay = number<double>(v); }},
    {.name = "credit-power", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "A",
     .fallback = "0.2", .max_real = 100, .help = "decoder credit: a step's evidence is confidence to the power A",
     .apply = [](SamplingOptions& o, Values v) { o.credit_power = number<double>(v); }},
    {.name = "credit-weight", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "W",
     .fallback = "0.7", .max_real = 1000, .help = "decoder credit: weight of the gathered evidence",
     .apply = [](SamplingOptions& o, Values v) { o.credit_weight = number<double>(v); }},
    {.name = "cache", .group = OptionGroup::kSampling, .kind = ValueKind::kChoice, .commands = kAnswers, .fallback = "dual",
     .choices = kCaches, .help = "which keys and values are kept between the passes of a block: none of them, those before the block "
                                 "(prefix), all outside it (dual), all outside it and its vicinity",
     .apply = [](SamplingOptions& o, Values v) { o.cache = choice<runtime::CachePolicy>(v, kCaches); }},
    {.name = "look-before", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers,
     .value = "TOKENS", .fallback = "16", .max = kMaxInt, .help = "cache vicinity: positions refreshed before the block",
     .apply = [](SamplingOptions& o, Values v) { o.look_before = number<std::int64_t>(v); }},
    {.name = "look-after", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers,
     .value = "TOKENS", .fallback = "16", .max = kMaxInt, .help = "cache vicinity: positions refreshed after the block",
     .apply = [](SamplingOptions& o, Values v) { o.look_after = number<std::int64_t>(v); }},
    {.name = "warmup", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers, .value = "PASSES",
     .fallback = "4", .max = kMaxInt, .help = "cache vicinity: first passes of an answer that run without the cache",
     .apply = [](SamplingOptions& o, Values v) { o.warmup = number<std::int64_t>(v); }},
    {.name = "temperature", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "T",
     .fallback = "0", .max_real = 100, .help = "0 takes the most probable token, else one is sampled from softmax(logits / T)",
     .apply = [](SamplingOptions& o, Values v) { o.temperature = number<double>(v); }},
    {.name = "remasking", .group = OptionGroup::kSampling, .kind = ValueKind::kChoice, .commands = kAnswers,
     .fallback = "low_confidence", .choices = kRemaskings,
     .help = "which positions stay masked for a later step",
     .apply = [](SamplingOptions& o, Values v) { o.remasking = choice<runtime::Remasking>(v, kRemaskings); }},
    {.name = "cfg-scale", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "S",
     .fallback = "0", .max_real = 100,
     .help = "classifier-free guidance: a pass also runs without the prompt, and what the prompt changes counts 1 + S times; 0 is off",
     .apply = [](SamplingOptions& o, Values v) { o.cfg_scale = number<double>(v); }},
    {.name = "seed", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers, .value = "N",
     .fallback = "0", .max = kMaxSeed, .help = "key of the random numbers, which temperature 0 with remasking low_confidence does not use",
     .apply = [](SamplingOptions& o, Values v) { o.seed = number<std::uint64_t>(v); }},
    {.name = "stop-at-eos", .group = OptionGroup::kSampling, .kind = ValueKind::kOnOff, .commands = kAnswers, .fallback = "on",
     .help = "compute no further block once a finished one holds an end token",
     .apply = [](SamplingOptions& o, Values v) { o.stop_at_eos = v.back() == "on"; }},
    {.name = "stop", .group = OptionGroup::kSampling, .commands = kAnswers, .value = "TEXT", .min = 1, .repeat = Repeat::kCollects,
     .help = "the answer ends before this text; may be given several times, in a request as a string or an array",
     .apply = [](SamplingOptions& o, Values v) { o.stop.assign(v.begin(), v.end()); }},
    {.name = "mask-token-id", .group = OptionGroup::kSampling, .kind = ValueKind::kInteger, .commands = kAnswers, .value = "ID",
     .fallback_note = "the checkpoint's, else the tokenizer's", .max = kMaxInt, .help = "token that stands for a masked position",
     .apply = [](SamplingOptions& o, Values v) { o.mask_token = number<TokenId>(v); }},
    {.name = "smoothing", .group = OptionGroup::kSampling, .kind = ValueKind::kOnOff, .commands = kAnswers, .fallback = "off",
     .help = "feed masked positions a mixture of their likely tokens besides the mask",
     .apply = [](SamplingOptions& o, Values v) { o.smoothing = v.back() == "on"; }},
    {.name = "smoothing-weight", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "W",
     .fallback = "0.15", .max_real = 100, .help = "smoothing: the mixture's weight after the first pass",
     .apply = [](SamplingOptions& o, Values v) { o.smoothing_weight = number<double>(v); }},
    {.name = "smoothing-growth", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "W",
     .fallback = "0.02", .max_real = 100, .help = "smoothing: how much the weight grows with each pass of the answer",
     .apply = [](SamplingOptions& o, Values v) { o.smoothing_growth = number<double>(v); }},
    {.name = "smoothing-cap", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "W",
     .fallback = "0.3", .max_real = 100, .help = "smoothing: largest weight",
     .apply = [](SamplingOptions& o, Values v) { o.smoothing_cap = number<double>(v); }},
    {.name = "threshold-decay", .group = OptionGroup::kSampling, .kind = ValueKind::kReal, .commands = kAnswers, .value = "D",
     .fallback = "0.02", .max_real = 1,
     .help = "smoothing: the threshold begins at 1 and comes down by D with each pass of the answer, as far as --threshold",
     .apply = [](SamplingOptions& o, Values v) { o.threshold_decay = number<double>(v); }},

    {.name = "json", .group = OptionGroup::kOutput, .kind = ValueKind::kFlag,
     .commands = kGenerate | kTokenize | kDetokenize | kInfo,
     .help = "JSON: generate prints one object per prompt and line, the last with the totals in \"run\"; tokenize reads one "
             "JSON string (with --chat: an array of messages) per line and prints one array; detokenize is the way back"},
    {.name = "show", .group = OptionGroup::kOutput, .kind = ValueKind::kChoice, .commands = kGenerate, .fallback = "auto",
     .choices = "auto|on|off", .help = "draw the answer while it is unmasked; auto: if a single process writes to a terminal"},
    {.name = "show-steps", .group = OptionGroup::kOutput, .kind = ValueKind::kFlag, .commands = kGenerate,
     .help = "with --json or --requests: add \"trace\", what each step unmasked with which confidence"},
    {.name = "output", .letter = 'o', .group = OptionGroup::kOutput, .commands = kLogits | kBatch | kPack, .value = "FILE",
     .help = "pack: the packed model; logits: the safetensors file for logits [rows, vocabulary] f32 and router_counts [layers, experts] i64; batch: the file of "
             "answers, with a journal FILE.journal beside it"},
    {.name = "unordered", .group = OptionGroup::kOutput, .kind = ValueKind::kFlag, .commands = kBatch,
     .help = "write each answer when it is there, not in the order of the input"},
    {.name = "reorder-window", .group = OptionGroup::kOutput, .kind = ValueKind::kInteger, .commands = kBatch, .value = "REQUESTS",
     .fallback = "10000", .min = 1, .max = 100'000'000, .help = "how far answers may run ahead of the oldest one missing; bounds memory"},
    {.name = "sync-every", .group = OptionGroup::kOutput, .kind = ValueKind::kInteger, .commands = kBatch, .value = "ANSWERS",
     .fallback = "1000", .min = 1, .max = kMaxInt, .help = "force answers to disk after so many of them"},
    {.name = "sync-seconds", .group = OptionGroup::kOutput, .kind = ValueKind::kReal, .commands = kBatch, .value = "SECONDS",
     .fallback = "5", .max_real = 86400, .help = "and after so long"},
    {.name = "summary", .group = OptionGroup::kOutput, .commands = kBatch, .value = "FILE.json",
     .help = "where the numbers of the run go at its end"},
    {.name = "max-time", .group = OptionGroup::kMachine, .kind = ValueKind::kReal, .commands = kBatch, .value = "SECONDS",
     .fallback = "0", .max_real = 1e9, .help = "stop at the end of a step after so long, loading included, with exit code 75; 0: no limit"},
    {.name = "wait-lock", .group = OptionGroup::kMachine, .kind = ValueKind::kReal, .commands = kBatch, .value = "SECONDS",
     .fallback = "60", .max_real = 86400, .help = "wait so long for another run that has these answers open, then refuse"},
    {.name = "format", .letter = 'o', .group = OptionGroup::kOutput, .kind = ValueKind::kChoice, .commands = kBench, .fallback = "md",
     .choices = kFormats, .help = "tables, an array of records, or lines of values under a line of names"},
    {.name = "trace", .group = OptionGroup::kOutput, .commands = kGenerate | kBench, .value = "FILE",
     .help = "what every rank did when, as Chrome trace events for ui.perfetto.dev; bench: forward, moe"},
    {.name = "record-routing", .group = OptionGroup::kOutput, .commands = kGenerate, .value = "FILE",
     .help = "which experts every row chose in every layer; bench exchange and moe replay it (--skew FILE)"},
    {.name = "skip-special", .group = OptionGroup::kOutput, .kind = ValueKind::kFlag, .commands = kDetokenize,
     .help = "leave special tokens out of the text"},
    {.name = "ranks", .group = OptionGroup::kOutput, .kind = ValueKind::kInteger, .commands = kInfo, .value = "N",
     .fallback = "1", .min = 1, .max = 1 << 16, .help = "show the bytes that each of N ranks would hold"},

    {.name = "dtype", .group = OptionGroup::kMachine, .kind = ValueKind::kChoices, .commands = kAnswers | kLogits | kBench | kInfo | kPack, .fallback = "bf16",
     .fallback_note = "bf16, or as a packed model holds them",
     .choices = "bf16|f32|int8|int4", .help = "bf16; f32: all arithmetic in f32 (parity), weights still bf16; int8, int4: experts held in fewer bits, "
                                              "quantised while loading, multiplied in bf16; bench quality takes a list"},
    {.name = "threads", .group = OptionGroup::kMachine, .kind = ValueKind::kInteger, .commands = kComputes | kPack, .value = "N",
     .fallback_note = "this rank's share of the cores it may use", .min = 1, .max = 4096, .help = "threads per rank"},
    {.name = "pin", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "auto", .choices = "auto|off",
     .help = "auto: each thread runs on a core of its own, inside the binding that the rank inherited, where there is one for each thread of "
             "the host's ranks; off: where the system puts it"},
    {.name = "share-weights", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "auto", .choices = "auto|off",
     .help = "auto: the ranks of a host hold one copy of embedding, attention and head together and read it once; off: a copy each"},
    {.name = "device", .group = OptionGroup::kMachine, .commands = kComputes, .value = "cpu|auto|cuda", .fallback = "auto",
     .help = "what runs the network: this processor, or a GPU for each rank in a build with CUDA (docs/gpu.md); auto: a GPU where this "
             "program has been proven on one, see 'unmask info'"},
    {.name = "device-kernel", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "auto",
     .choices = "auto|mma|wgmma",
     .help = "what multiplies experts on a GPU: mma, on every one; wgmma, a Hopper's own instructions, bf16 only, never run on a device yet; "
             "auto: mma"},
    {.name = "kernel", .group = OptionGroup::kMachine, .commands = kComputes, .value = "NAME", .fallback = "auto",
     .help = "kernel family, see 'unmask info'; auto: the best that every rank has"},
    {.name = "transport", .group = OptionGroup::kMachine, .commands = kComputes, .value = "mpi|threads:N", .fallback = "mpi",
     .help = "mpi: one rank per process; threads:N: N ranks inside this one process"},
    {.name = "placement", .group = OptionGroup::kMachine, .commands = kComputes, .value = "even|FILE", .fallback = "even",
     .help = "which rank holds which expert; FILE: a JSON array with the rank of each expert"},
    {.name = "overlap", .group = OptionGroup::kMachine, .kind = ValueKind::kOnOff, .commands = kComputes, .fallback = "on",
     .help = "whether rows travel between ranks while experts compute, in chunks of experts"},
    {.name = "micro-batches", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "auto",
     .choices = "auto|1|2",
     .help = "2: half of a rank's sequences compute while rows and sums of the other half travel; auto: where links are slow and each half "
             "has enough rows per expert"},
    {.name = "exchange", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "auto",
     .choices = "auto|allgather|direct",
     .help = "how rows travel out: to the ranks that need them, or small ones to all behind the counts; auto: by a probe of the links"},
    {.name = "message-bytes", .group = OptionGroup::kMachine, .kind = ValueKind::kInteger, .commands = kComputes, .value = "BYTES",
     .fallback = "131072", .min = 1, .max = 1 << 30, .help = "rows of neighbouring chunks are joined to messages of at least so much"},
    {.name = "combine", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "exact",
     .choices = "exact|fast", .help = "exact: the same bits for any number of ranks; fast: fewer bytes return, one row per (token, rank)"},
    {.name = "max-rows", .group = OptionGroup::kMachine, .kind = ValueKind::kInteger, .commands = kAnswers | kCheck, .value = "ROWS",
     .fallback = "4096", .min = 1, .max = 1 << 24, .help = "rows that a rank puts into one step; a longer sequence runs alone"},
    {.name = "kv-memory", .group = OptionGroup::kMachine, .kind = ValueKind::kInteger, .commands = kAnswers | kCheck, .value = "BYTES",
     .fallback_note = "half of what is free after loading, shared by the ranks of a host", .max = kMaxBytes,
     .help = "memory per rank for what running requests keep: keys and values, smoothing; more of them wait"},
    {.name = "watchdog", .group = OptionGroup::kMachine, .kind = ValueKind::kReal, .commands = kComputes, .value = "SECONDS",
     .fallback = "60", .max_real = 1e6, .help = "a rank that shows no sign of life for longer is lost, and ends the job with code 4; 0 waits for ever"},
    {.name = "verify-messages", .group = OptionGroup::kMachine, .kind = ValueKind::kFlag, .commands = kComputes,
     .help = "a checksum follows every message between ranks: a wrong one ends the job and names the sender"},
    {.name = "log-level", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kAll, .fallback = "info",
     .choices = "debug|info|warning|error|off", .help = "what is written to standard error"},
    {.name = "log-ranks", .group = OptionGroup::kMachine, .kind = ValueKind::kChoice, .commands = kComputes, .fallback = "first",
     .choices = "first|all", .help = "which ranks write a log"},
});

}  // namespace

std::span<const OptionSpec> option_table() { return kTable; }

}  // namespace unmask::launcher
