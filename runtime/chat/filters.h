// SPDX-License-Identifier: Apache-2.0
#pragma once

#include "runtime/chat/arguments.h"

namespace unmask::runtime::chat {

bool is_known_filter(std::string_view name);

// Filters on sequences, for the table in filters.cpp.
Value length_filter(const Call& call);
Value join_filter(const Call& call);
Value first_filter(const Call& call);
Value last_filter(const Call& call);
Value list_filter(const Call& call);
Value reverse_filter(const Call& call);
Value items_filter(const Call& call);
Value dictsort_filter(const Call& call);
Value map_filter(const Call& call);
Value select_filter(const Call& call);  ///< also reject, selectattr, rejectattr

// Filters that make numbers, the same.
Value int_filter(const Call& call);
Value float_filter(const Call& call);
Value abs_filter(const Call& call);

}  // namespace unmask::runtime::chat
