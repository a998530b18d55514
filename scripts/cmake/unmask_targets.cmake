# SPDX-License-Identifier: Apache-2.0
# How targets and tests of this project are declared: unmask_library, add_unit_test, add_mpi_test, add_fuzz_target.

# Warnings, language level, sanitizers: for every target of ours, never globally.
function(unmask_defaults target)
  target_compile_features(${target} PUBLIC cxx_std_20)
  set_target_properties(${target} PROPERTIES CXX_EXTENSIONS OFF)
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_compile_options(${target} PRIVATE
    -Wall -Wextra -Wconversion -Wsign-conversion -Wshadow -Wswitch-enum -Wnon-virtual-dtor -Wold-style-cast
    $<$<BOOL:${UNMASK_WERROR}>:-Werror>)
  # A multiply-add is fused only where a kernel asks for it: results must not hang on the optimiser's mood.
  target_compile_options(${target} PRIVATE -ffp-contract=off)
  if(UNMASK_DEBUG_CHECKS)
    target_compile_definitions(${target} PUBLIC UNMASK_DEBUG_CHECKS=1)
  endif()
  if(UNMASK_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${UNMASK_SANITIZE} -fno-omit-frame-pointer)
    target_link_options(${target} PUBLIC -fsanitize=${UNMASK_SANITIZE})
    if(UNMASK_SANITIZE MATCHES undefined)
      target_compile_options(${target} PUBLIC -fno-sanitize-recover=undefined)
    endif()
  endif()
  if(UNMASK_FUZZ)
    target_compile_options(${target} PUBLIC -fsanitize=fuzzer-no-link)
  endif()
endfunction()

# unmask_library(room SOURCES ... PUBLIC libs... PRIVATE libs...): target unmask_<room>.
function(unmask_library room)
  cmake_parse_arguments(ARG "" "" "SOURCES;PUBLIC;PRIVATE" ${ARGN})
  add_library(unmask_${room} STATIC ${ARG_SOURCES})
  unmask_defaults(unmask_${room})
  target_link_libraries(unmask_${room} PUBLIC ${ARG_PUBLIC} PRIVATE ${ARG_PRIVATE})
endfunction()

# Every x_test.cpp that a test function names is noted, so that tests/CMakeLists.txt can refuse one that nobody names.
function(_unmask_note_test source)
  get_filename_component(path ${source} ABSOLUTE)
  set_property(GLOBAL APPEND PROPERTY UNMASK_TEST_SOURCES ${path})
endfunction()

# What a build needs for `ctest -L unit` and for `ctest -L fuzz` alone.
add_custom_target(unit_tests)
add_custom_target(fuzz_targets)

# add_unit_test(name [SOURCE file] [LIBS ...] [TIMEOUT s] [LABELS ...]): GoogleTest program from <name>.cpp.
function(add_unit_test name)
  cmake_parse_arguments(ARG "" "SOURCE;TIMEOUT" "LIBS;LABELS" ${ARGN})
  if(NOT ARG_SOURCE)
    set(ARG_SOURCE ${name}.cpp)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  _unmask_note_test(${ARG_SOURCE})
  add_executable(${name} ${ARG_SOURCE})
  unmask_defaults(${name})
  add_dependencies(unit_tests ${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE UNMASK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "unit;${ARG_LABELS}")
endfunction()

# add_mpi_test(name RANKS 1 2 3 [LIBS ...] [TIMEOUT s]): one GoogleTest program (its main sets up MPI), run on each rank count.
function(add_mpi_test name)
  cmake_parse_arguments(ARG "" "SOURCE;TIMEOUT" "RANKS;LIBS;LABELS" ${ARGN})
  if(NOT ARG_SOURCE)
    set(ARG_SOURCE ${name}.cpp)
  endif()
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 120)
  endif()
  _unmask_note_test(${ARG_SOURCE})
  if(UNMASK_SANITIZE MATCHES thread)
    return()  # Open MPI is not built for ThreadSanitizer
  endif()
  add_executable(${name} ${ARG_SOURCE})
  unmask_defaults(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS} GTest::gmock GTest::gtest)
  target_compile_definitions(${name} PRIVATE UNMASK_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  foreach(ranks ${ARG_RANKS})
    add_test(NAME ${name}.${ranks} COMMAND ${UNMASK_MPIRUN} -n ${ranks} $<TARGET_FILE:${name}>)
    set_tests_properties(${name}.${ranks} PROPERTIES TIMEOUT ${ARG_TIMEOUT} LABELS "mpi;${ARG_LABELS}" PROCESSORS 2
      ENVIRONMENT "${UNMASK_MPI_TEST_ENVIRONMENT}")
  endforeach()
endfunction()

# How tests start ranks: more ranks than cores, unbound, allowed as root (a container's user), quiet when oversubscribed.
if(NOT MPIEXEC_EXECUTABLE)
  message(FATAL_ERROR "mpirun was not found: find_package(MPI) must come before this file")
endif()
set(UNMASK_MPIRUN ${MPIEXEC_EXECUTABLE} --oversubscribe --bind-to none)
set(UNMASK_MPI_TEST_ENVIRONMENT
  "OMPI_ALLOW_RUN_AS_ROOT=1;OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1;OMPI_MCA_mpi_yield_when_idle=1;OMPI_MCA_btl_vader_single_copy_mechanism=none")

# add_fuzz_target(name CORPUS folder LIBS ...): a libFuzzer program from <name>.cpp (clang only); its corpus is replayed as a test.
# Without UNMASK_FUZZ the same source is linked with tests/fuzz/replay_main.cpp, so that every build replays the corpus.
function(add_fuzz_target name)
  cmake_parse_arguments(ARG "" "CORPUS" "LIBS" ${ARGN})
  add_executable(${name} ${name}.cpp)
  add_dependencies(unit_tests ${name})
  add_dependencies(fuzz_targets ${name})
  unmask_defaults(${name})
  target_link_libraries(${name} PRIVATE ${ARG_LIBS})
  if(UNMASK_FUZZ)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    add_test(NAME ${name} COMMAND ${name} -runs=0 ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS})
  else()
    target_sources(${name} PRIVATE ${PROJECT_SOURCE_DIR}/tests/fuzz/replay_main.cpp)
    add_test(NAME ${name} COMMAND ${name} ${CMAKE_CURRENT_SOURCE_DIR}/${ARG_CORPUS})
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT 120 LABELS "unit;fuzz")
endfunction()
