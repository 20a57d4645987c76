-- Loses every user, workspace and membership. Take a copy first.
SET LOCAL ROLE sesari_owner;
DROP TABLE public.workspace_users CASCADE;
DROP FUNCTION sesari.keep_an_owner();
DROP FUNCTION sesari.create_workspace(text, text, text, text);
DROP TABLE public.workspaces;
DROP FUNCTION sesari.sign_in(text, text, text, text, text, text);
DROP TABLE public.users;
DROP FUNCTION sesari.visible_user_ids();
DROP FUNCTION sesari.my_workspace_ids();
DROP FUNCTION sesari.workspace_id_as(text[]);
DROP FUNCTION sesari.current_member_role();
DROP FUNCTION sesari.current_workspace_id();
RESET ROLE;
