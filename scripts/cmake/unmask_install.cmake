# SPDX-License-Identifier: Apache-2.0
# The library as others find it: find_package(unmask), then unmask::runtime (which brings the rooms below it). Component
# `library`: headers under include/unmask, static libraries, the package files.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(device no_device)
if(UNMASK_HAS_CUDA)
  set(device experts_cuda comm_nccl runtime_cuda nccl)
  set(UNMASK_FIND_CUDA "find_dependency(CUDAToolkit)")
endif()

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/unmask)
foreach(room base cluster comm experts files tokenizer chat checkpoint runtime ${device})
  set_target_properties(unmask_${room} PROPERTIES EXPORT_NAME ${room})
  install(TARGETS unmask_${room} EXPORT unmaskTargets COMPONENT library
    ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
    INCLUDES DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/unmask)
endforeach()
install(EXPORT unmaskTargets NAMESPACE unmask:: DESTINATION ${package_dir} COMPONENT library)

# Headers keep their rooms. Of the text side only the two that are meant for callers.
install(DIRECTORY base cluster comm experts runtime DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/unmask COMPONENT library
  FILES_MATCHING PATTERN "*.h" PATTERN "*_impl.h" EXCLUDE PATTERN "*.inc.h" EXCLUDE PATTERN "chat" EXCLUDE PATTERN "tokenizer" EXCLUDE)
foreach(header chat/chat_template.h tokenizer/tokenizer.h)
  get_filename_component(folder ${header} DIRECTORY)
  install(FILES runtime/${header} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/unmask/runtime/${folder} COMPONENT library)
endforeach()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/unmaskConfig.cmake.in ${PROJECT_BINARY_DIR}/unmaskConfig.cmake
  INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/unmaskConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/unmaskConfig.cmake ${PROJECT_BINARY_DIR}/unmaskConfigVersion.cmake
  DESTINATION ${package_dir} COMPONENT library)
