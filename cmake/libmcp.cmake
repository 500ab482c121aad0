# SPDX-License-Identifier: Apache-2.0
# libmcp as others link it, shared and static: src/client and what it needs of the parts below, made
# one object in which only the functions of include/mcp can be seen. Built without link-time
# optimisation, as such objects are of use to the very same compiler alone.
set(libmcp_parts client client_io wire codec base)
if(CMAKE_INTERPROCEDURAL_OPTIMIZATION)
    foreach(name IN LISTS libmcp_parts)
        string(REPLACE _ / part ${name})
        file(GLOB sources CONFIGURE_DEPENDS src/${part}/*.c)
        add_library(libmcp_${name} STATIC ${sources})
        target_link_libraries(libmcp_${name} PRIVATE mcpgate_include ${MCPGATE_LIBS_${name}})
        target_compile_options(libmcp_${name} PRIVATE -O2)
        set_target_properties(libmcp_${name} PROPERTIES INTERPROCEDURAL_OPTIMIZATION OFF)
    endforeach()
    set(libmcp_prefix libmcp)
else()
    set(libmcp_prefix mcpgate)
endif()
foreach(name IN LISTS libmcp_parts)
    list(APPEND libmcp_targets ${libmcp_prefix}_${name})
    list(APPEND libmcp_archives $<TARGET_FILE:${libmcp_prefix}_${name}>)
endforeach()
list(POP_FRONT libmcp_archives client_archive client_io_archive)

set(libmcp_object ${CMAKE_BINARY_DIR}/libmcp.o)
add_custom_command(OUTPUT ${libmcp_object}
    COMMAND ${CMAKE_LINKER} -r -o ${libmcp_object}
            --whole-archive ${client_archive} ${client_io_archive}
            --no-whole-archive --start-group ${libmcp_archives} --end-group
    COMMAND ${CMAKE_OBJCOPY} --wildcard --keep-global-symbol=mcp_client_* --keep-global-symbol=mcp_options_*
            --keep-global-symbol=mcp_part_* --keep-global-symbol=mcp_error_* ${libmcp_object}
    DEPENDS ${libmcp_targets} COMMENT "Linking libmcp.o" VERBATIM)

add_library(mcp SHARED ${libmcp_object})
add_library(mcp_static STATIC ${libmcp_object})
set_target_properties(mcp mcp_static PROPERTIES LINKER_LANGUAGE C OUTPUT_NAME mcp
    INTERPROCEDURAL_OPTIMIZATION OFF)
set_target_properties(mcp PROPERTIES VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
target_link_options(mcp PRIVATE -Wl,--as-needed)
target_link_libraries(mcp PRIVATE ${MCPGATE_LIBS_wire} ${MCPGATE_LIBS_base})
target_include_directories(mcp INTERFACE $<INSTALL_INTERFACE:${CMAKE_INSTALL_INCLUDEDIR}>)
