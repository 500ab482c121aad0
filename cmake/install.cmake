# SPDX-License-Identifier: Apache-2.0
# What `make install` puts where. A list of it is installed too, for tools/uninstall: the files, and
# those folders that were not there before.
include(CMakePackageConfigHelpers)

# --- pages of the manual, as the program prints them -----------------------------------------------
set(man1 ${CMAKE_BINARY_DIR}/man/mcpgate.1)
set(man5 ${CMAKE_BINARY_DIR}/man/mcpgate.yaml.5)
add_custom_command(OUTPUT ${man1} ${man5}
    COMMAND ${CMAKE_COMMAND} -E make_directory ${CMAKE_BINARY_DIR}/man
    COMMAND mcpgate manual mcpgate > ${man1}
    COMMAND mcpgate manual mcpgate.yaml > ${man5}
    DEPENDS mcpgate COMMENT "Writing the manual")
add_custom_target(manual ALL DEPENDS ${man1} ${man5})

# --- what knows where things are -------------------------------------------------------------------
configure_file(deploy/mcpgate.service.in deploy/mcpgate.service @ONLY)
# The folder of libmcp.pc is so far below the prefix: it may be moved as a whole.
string(REGEX REPLACE "[^/]+" ".." MCPGATE_PC_PREFIX ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
configure_file(cmake/libmcp.pc.in libmcp.pc @ONLY)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/mcp-config-version.cmake COMPATIBILITY SameMinorVersion)

# --- the rules -------------------------------------------------------------------------------------
set(lib ${CMAKE_INSTALL_LIBDIR})
set(data ${CMAKE_INSTALL_DATADIR})
set(record ${data}/mcpgate/installed)
set(folders ${CMAKE_INSTALL_BINDIR} ${lib}/pkgconfig ${lib}/cmake/mcp ${CMAKE_INSTALL_INCLUDEDIR}/mcp lib/systemd/system
    ${CMAKE_INSTALL_MANDIR}/man1 ${CMAKE_INSTALL_MANDIR}/man5 ${data}/mcpgate ${CMAKE_INSTALL_DOCDIR}/examples
    ${CMAKE_INSTALL_DOCDIR}/docs/performance ${CMAKE_INSTALL_DOCDIR}/docs/planning
    ${data}/bash-completion/completions ${data}/zsh/site-functions
    ${data}/fish/vendor_completions.d)
install(CODE "set(mcpgate_record \"${record}\")\nset(mcpgate_folders \"${folders}\")")
install(CODE [[
    set(mcpgate_made)
    foreach(folder IN LISTS mcpgate_folders)
        set(folder "${CMAKE_INSTALL_PREFIX}/${folder}")
        while(NOT folder STREQUAL "/" AND NOT EXISTS "$ENV{DESTDIR}${folder}")
            list(APPEND mcpgate_made "${folder}")
            cmake_path(GET folder PARENT_PATH folder)
        endwhile()
    endforeach()
]])

install(TARGETS mcpgate)
install(TARGETS mcp EXPORT mcp-config)
install(TARGETS mcp_static)
install(DIRECTORY include/mcp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(FILES ${CMAKE_BINARY_DIR}/libmcp.pc DESTINATION ${lib}/pkgconfig)
install(EXPORT mcp-config NAMESPACE mcp:: DESTINATION ${lib}/cmake/mcp)
install(FILES ${CMAKE_BINARY_DIR}/mcp-config-version.cmake DESTINATION ${lib}/cmake/mcp)
install(FILES ${man1} DESTINATION ${CMAKE_INSTALL_MANDIR}/man1)
install(FILES ${man5} DESTINATION ${CMAKE_INSTALL_MANDIR}/man5)
install(FILES completion/mcpgate.bash DESTINATION ${data}/bash-completion/completions RENAME mcpgate)
install(FILES completion/mcpgate.zsh DESTINATION ${data}/zsh/site-functions RENAME _mcpgate)
install(FILES completion/mcpgate.fish DESTINATION ${data}/fish/vendor_completions.d)
install(FILES ${CMAKE_BINARY_DIR}/deploy/mcpgate.service DESTINATION lib/systemd/system)
install(FILES deploy/mcpgate.yaml DESTINATION ${CMAKE_INSTALL_DOCDIR}/examples)
install(FILES tools/wireshark/mcp.lua DESTINATION ${data}/mcpgate)
install(FILES README.md README.zh-CN.md CHANGELOG.md LICENSE DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs/ DESTINATION ${CMAKE_INSTALL_DOCDIR}/docs)

install(CODE [[
    # A second installation keeps what the first one has made.
    set(record "${CMAKE_INSTALL_PREFIX}/${mcpgate_record}")
    if(EXISTS "$ENV{DESTDIR}${record}")
        file(STRINGS "$ENV{DESTDIR}${record}" before)
    endif()
    foreach(file IN LISTS CMAKE_INSTALL_MANIFEST_FILES)
        list(APPEND before "file ${file}")
    endforeach()
    list(APPEND before "file ${record}")
    foreach(folder IN LISTS mcpgate_made)
        list(APPEND before "folder ${folder}")
    endforeach()
    list(REMOVE_DUPLICATES before)
    list(SORT before ORDER DESCENDING) # folders behind what is in them
    list(JOIN before "\n" before)
    file(WRITE "$ENV{DESTDIR}${record}" "${before}\n")
]])
