// SPDX-License-Identifier: Apache-2.0
#include "launcher/run/trace_file.h"

#include <algorithm>
#include <array>
#include <limits>

#include <nlohmann/json.hpp>

#include "base/byte_stream.h"
#include "comm/clock_offsets.h"
#include "runtime/output_file.h"

namespace unmask::launcher {
namespace {

using nlohmann::json;

constexpr std::array<std::string_view, Trace::kNumTracks> kTrackNames = {"work", "rows out", "rows in", "sums out", "sums in"};

double seconds(Trace::Clock::time_point time) { return std::chrono::duration<double>(time.time_since_epoch()).count(); }

std::vector<std::byte> pack(const comm::Communicator& comm, const Trace& trace) {
  ByteWriter writer;
  writer.put(comm.host()).put(static_cast<std::uint64_t>(trace.left_out())).put(static_cast<std::uint64_t>(trace.spans().size()));
  for (const auto& span : trace.spans()) {
    writer.put(span.name).put(span.track).put(span.layer).put(span.chunk).put(span.bytes);
    writer.put(seconds(span.begin)).put(seconds(span.end));
  }
  return writer.take();
}

json name_event(std::string_view what, std::size_t rank, std::size_t track, const std::string& name) {
  return {{"ph", "M"}, {"pid", rank}, {"tid", track}, {"name", what}, {"args", {{"name", name}}}};
}

/// The spans of one rank; begin times still in seconds.
void unpack(std::span<const std::byte> bytes, Rank rank, double offset, json& events, const Logger& log) {
  ByteReader reader(bytes, rank);
  const std::string host = reader.get_text();
  if (const auto left_out = reader.get<std::uint64_t>(); left_out > 0) {
    log.warning("the trace of rank {} is full: its last {} spans were left out", rank, left_out);
  }
  events.push_back(name_event("process_name", rank.at(), 0, format("rank {} ({})", rank, host)));
  for (std::size_t track = 0; track < kTrackNames.size(); ++track) {
    events.push_back(name_event("thread_name", rank.at(), track, std::string(kTrackNames[track])));
  }
  for (auto left = reader.get<std::uint64_t>(); left > 0; --left) {
    const std::string name = reader.get_text();
    const auto track = reader.get<Trace::Track>();
    json args = {{"layer", reader.get<std::int64_t>()}};
    const auto chunk = reader.get<std::int64_t>();
    const auto num_bytes = reader.get<std::int64_t>();
    if (chunk >= 0) {
      args["chunk"] = chunk;
    }
    if (num_bytes > 0) {
      args["bytes"] = num_bytes;
    }
    const double begin = reader.get<double>() - offset;
    const double end = reader.get<double>() - offset;
    events.push_back({{"ph", "X"}, {"pid", rank.at()}, {"tid", static_cast<int>(track)}, {"name", name}, {"ts", begin},
                      {"dur", (end - begin) * 1e6}, {"args", args}});
  }
}

/// Microseconds from the first span on.
void count_from_the_first(json& events) {
  double first = std::numeric_limits<double>::max();
  for (const auto& event : events) {
    first = event.contains("ts") ? std::min(first, event["ts"].get<double>()) : first;
  }
  for (auto& event : events) {
    if (event.contains("ts")) {
      event["ts"] = (event["ts"].get<double>() - first) * 1e6;
    }
  }
}

}  // namespace

void write_trace(const Job& job, const Trace& mine, const std::string& file) {
  const auto offsets = comm::clock_offsets(job.comm);
  const auto all = job.comm.all_gather(pack(job.comm, mine));
  agreed(job.comm, [&] {
    if (!job.comm.is_root()) {
      return;
    }
    json events = json::array();
    for (Rank rank(0); rank.value < job.comm.num_ranks(); ++rank) {
      unpack(all[rank.at()], rank, offsets[rank.at()], events, job.log);
    }
    count_from_the_first(events);
    const std::string text = json{{"traceEvents", std::move(events)}, {"displayTimeUnit", "ms"}}.dump();
    runtime::OutputFile out(file);
    out.write(0, std::as_bytes(std::span(text)));
    out.sync();
    out.commit();
    job.log.info("trace of {} ranks: {} (open it in ui.perfetto.dev)", job.comm.num_ranks(), file);
  });
}

}  // namespace unmask::launcher
