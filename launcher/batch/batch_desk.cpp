// SPDX-License-Identifier: Apache-2.0
#include "launcher/batch/batch_desk.h"

#include "launcher/generate/answer_json.h"

namespace unmask::launcher {
namespace {

constexpr int kMostAtOnce = 4096;  ///< requests taken in one go; then the step must go on

std::string answer_line(const Ticket& ticket, const runtime::Answer& answer, const AnswerText& text) {
  if (ticket.form == BatchLine::Form::kPlain) {
    return answer_json({.id_json = ticket.id_json, .prompt = ticket.prompt, .answer = answer, .text = text}, nullptr) + "\n";
  }
  return openai_answer(ticket, answer, text) + "\n";
}

}  // namespace

BatchDesk::BatchDesk(AnswerLog& log, RequestPump& pump, HandOut hand_out, Options options)
    : log_(log), pump_(pump), hand_out_(std::move(hand_out)), options_(options), window_(options.first_index), next_index_(options.first_index) {}

bool BatchDesk::window_is_full() const {
  return options_.order == Order::kInput &&
         (next_index_ - window_.num_left() >= options_.window_requests || window_bytes_ >= options_.window_bytes);
}

void BatchDesk::hand_out(const std::function<void(Rank, const std::vector<TokenRequest>&)>& send) {
  std::vector<std::vector<TokenRequest>> parcels(hand_out_.num_given().size());
  for (int taken = 0; taken < kMostAtOnce; ++taken) {
    if (!held_) {
      if (window_is_full() || pump_.state() != RequestPump::State::kMore) {
        break;
      }
      held_ = pump_.take();
      next_index_ = held_->ticket.index + 1;
    }
    if (held_->refused) {
      runtime::Answer refused;
      refused.error = held_->refused;
      finish(held_->ticket, refused);
      held_.reset();
      continue;
    }
    const auto rank = hand_out_.place(held_->request->to_request());
    if (!rank) {
      break;
    }
    parcels[rank->at()].push_back(std::move(*held_->request));
    out_.emplace(held_->ticket.index, std::move(held_->ticket));
    held_.reset();
  }
  for (Rank rank(0); rank.at() < parcels.size(); ++rank) {
    if (!parcels[rank.at()].empty()) {
      send(rank, parcels[rank.at()]);
    }
  }
}

void BatchDesk::take(runtime::Answer answer) {
  const auto at = out_.find(answer.number);
  UNMASK_CHECK(at != out_.end(), "request {} is not with the ranks", answer.number);
  Ticket ticket = std::move(at->second);
  out_.erase(at);
  hand_out_.remove(answer.number);
  if (answer.error) {
    ticket.error_kind = "not_runnable";
  }
  finish(ticket, answer);
}

void BatchDesk::finish(const Ticket& ticket, const runtime::Answer& answer) {
  const AnswerText text = answer.error ? AnswerText{} : answer_text(answer, ticket.stops, options_.tokenizer);
  write({.record = {.index = ticket.index,
                    .number = ticket.number,
                    .input_hash = ticket.input_hash,
                    .error_kind = ticket.error_kind,
                    .text_tokens = answer.text_tokens,
                    .passes = answer.passes},
         .line = answer_line(ticket, answer, text)});
}

void BatchDesk::write(Finished finished) {
  if (options_.order == Order::kAny) {
    log_.append(std::move(finished.record), finished.line);
    return;
  }
  window_bytes_ += finished.line.size();
  window_.put(finished.record.index, std::move(finished));
  while (auto next = window_.next()) {
    window_bytes_ -= next->line.size();
    log_.append(std::move(next->record), next->line);
  }
}

bool BatchDesk::done() const {
  return !held_ && out_.empty() && window_.num_waiting() == 0 && pump_.state() == RequestPump::State::kAtEnd;
}

}  // namespace unmask::launcher
